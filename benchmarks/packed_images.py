r"""The cost of images in packed rows, and of one image to a row.

    python benchmarks/packed_images.py

computes the loss of a generator and its gradient for the same images and hidden
tokens, packed as many to a row as a clip has latent frames, and padded to the
length of a clip. It counts FLOPs by `phenaki_jax/planning/flops.py` and
measures the CPU seconds, of all threads, which other programs disturb less. It
fails if the losses differ, or if a packed image costs over a fifth of a padded
one.
"""

import argparse
import json
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp

from phenaki_jax import rng, sharding
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.masked_transformer.masking import hide
from phenaki_jax.planning import flops
from phenaki_jax.text.config import TextConfig
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.training.generator_task import GeneratorTask
from phenaki_jax.training.rows import Rows, clip_rows, image_rows

LIMIT, TOLERANCE = 0.2, 1e-5
TEXT = TextConfig(
  vocab_size=64, width=64, num_layers=1, num_heads=2, mlp_dim=128, max_length=16
)


def task_of(width: int, layers: int, side: int, frames: int) -> GeneratorTask:
  """Return a generator of clips of `frames` latent frames of side x side."""
  config = GeneratorConfig(
    codebook_size=1024,
    grid=(frames, side, side),
    width=width,
    num_layers=layers,
    num_heads=width // 64,
    mlp_dim=4 * width,
  )
  return GeneratorTask(
    config=config, text=TEXT, tokenizer=TokenizerConfig(), tokenizer_params=None
  )


def rows_of(task: GeneratorTask, images: int) -> dict[str, Rows]:
  """Return random images, packed and padded."""
  length, *plane = task.config.grid
  keys = jax.random.split(rng.root(0), 3)
  shape = (images, *plane)
  ids = jax.random.randint(keys[0], shape, 0, 1024, jnp.int32)
  maskable = jnp.ones((images, plane[0] * plane[1]), bool)
  hidden = hide(keys[1], maskable=maskable).reshape(shape)
  texts = jax.random.randint(keys[2], (images, 16), 2, 64, jnp.int32)

  def padded(x: Any) -> Any:
    return jnp.pad(x[:, None], [(0, 0), (0, length - 1), (0, 0), (0, 0)])

  first, ones = jnp.zeros(images, jnp.int32), jnp.ones(images, jnp.int32)
  return {
    'packed': image_rows(ids, hidden, first, texts, length=length),
    'padded': clip_rows(padded(ids), padded(hidden), ones, texts),
  }


def measure(task: GeneratorTask, rows: Rows, calls: int) -> dict[str, float]:
  """Return the loss, the least CPU seconds of a call, and the FLOPs of rows."""
  params = sharding.unbox(jax.jit(task.init)(rng.root(1)))
  totals = {'hidden': rows.hidden.sum(), 'weights': rows.hidden.sum()}

  @jax.jit
  def step(params: Any, rows: Rows) -> Any:
    def loss(params: Any) -> Any:
      return task.part_loss(params, {}, rows, rng.root(2), totals)[0]

    return jax.value_and_grad(loss)(params)

  jax.block_until_ready(step(params, rows))
  seconds = []
  for _ in range(calls):
    began = time.process_time()
    value = jax.block_until_ready(step(params, rows))[0]
    seconds.append(time.process_time() - began)
  counted = flops.generator(
    task.config,
    batch=rows.ids.shape[0],
    text_length=TEXT.max_length,
    text_width=TEXT.width,
    texts=rows.layout.text_order.size,
    learned_text=True,
  )
  return {
    'rows': rows.ids.shape[0],
    'loss': float(value),
    'cpu_seconds': min(seconds),
    'gflop': counted.training / 1e9,
  }


def main() -> int:
  """Print a table or JSON; return 1 if a limit was exceeded."""
  parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n')[0])
  parser.add_argument('--images', type=int, default=24)
  parser.add_argument('--frames', type=int, default=6, help='latent, of a clip')
  parser.add_argument('--side', type=int, default=8, help='tokens')
  parser.add_argument('--width', type=int, default=256)
  parser.add_argument('--layers', type=int, default=4)
  parser.add_argument('--calls', type=int, default=5)
  parser.add_argument('--json', action='store_true', help='print JSON instead')
  options = parser.parse_args()
  task = task_of(options.width, options.layers, options.side, options.frames)
  found = {
    name: measure(task, rows, options.calls)
    for name, rows in rows_of(task, options.images).items()
  }
  packed, padded = found['packed'], found['padded']
  ratios = {
    name: packed[name] / padded[name] for name in ('gflop', 'cpu_seconds')
  }
  if options.json:
    print(json.dumps({**found, 'ratios': ratios}))
  else:
    for name, values in found.items():
      print(
        f'{name}  {values["rows"]:.0f} rows, loss {values["loss"]:.6f}, '
        f'{values["gflop"]:.2f} GFLOP, {values["cpu_seconds"]:.3f} CPU seconds'
      )
    print(
      f'ratio   {ratios["gflop"]:.3f} of the GFLOP and '
      f'{ratios["cpu_seconds"]:.3f} of the CPU seconds, at most {LIMIT}'
    )
  is_same = abs(packed['loss'] - padded['loss']) <= TOLERANCE * padded['loss']
  return int(not is_same or max(ratios.values()) > LIMIT)


if __name__ == '__main__':
  sys.exit(main())
