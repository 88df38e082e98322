"""Measure for how long saving a checkpoint holds up training.

    python benchmarks/faults/save_pause.py [--layers 12] [--rounds 3]

A stand-in for a training run: arrays of the shapes of a transformer, with the
average and both moments of AdamW, and a step that changes all of them and
reuses their memory, as the training step does. `held up` is the time of
`Checkpoints.save`, before which the next step cannot start; `next step` is how
much longer than usual the step after it takes.
"""

import argparse
import statistics
import tempfile
import time
from typing import Any

import jax
import jax.numpy as jnp

from phenaki_jax import sharding
from phenaki_jax.training.checkpoints import Checkpoints
from phenaki_jax.training.state import TrainState

WIDTH, VOCABULARY = 768, 32_000


def make_state(layers: int) -> TrainState:
  """Return a state of the size of a transformer with that many layers."""
  shapes = {
    'embedding': (VOCABULARY, WIDTH),
    'attention': (layers, WIDTH, 4 * WIDTH),
    'mlp_in': (layers, WIDTH, 4 * WIDTH),
    'mlp_out': (layers, 4 * WIDTH, WIDTH),
    'scale': (layers, WIDTH),
  }
  keys = iter(jax.random.split(jax.random.key(0), 4 * len(shapes)))

  def tree() -> dict[str, Any]:
    return {
      name: 0.02 * jax.random.normal(next(keys), shape)
      for name, shape in shapes.items()
    }

  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=tree(),
    ema=tree(),
    opt_state=({'mu': tree(), 'nu': tree()},),
  )


def main() -> None:
  """Print the pause of each round, and the median."""
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--layers', type=int, default=12)
  parser.add_argument('--rounds', type=int, default=3)
  args = parser.parse_args()

  def advance(state: TrainState) -> TrainState:
    return jax.tree.map(lambda x: x * 0.999 if x.ndim else x + 1, state)

  mesh = sharding.make_mesh(sharding.MeshConfig(), devices=jax.devices()[:1])
  place = jax.NamedSharding(mesh, jax.P())
  state = jax.device_put(make_state(args.layers), place)
  step = jax.jit(advance, donate_argnums=0)
  count = sum(x.size for x in jax.tree.leaves(state.params))
  size = sum(x.nbytes for x in jax.tree.leaves(state))
  print(f'{count / 1e6:.1f}M parameters, {size / 1e9:.2f} GB of state')

  def timed() -> float:
    nonlocal state
    start = time.perf_counter()
    state = jax.block_until_ready(step(state))
    return time.perf_counter() - start

  timed()
  usual = statistics.median(timed() for _ in range(5))
  print(f'{"round":>5} {"held up s":>10} {"next step s":>12} {"written s":>10}')
  held = []
  with tempfile.TemporaryDirectory() as folder:
    checkpoints = Checkpoints(folder, keep=1, config={}, identity={})
    for number in range(1, args.rounds + 1):
      start = time.perf_counter()
      checkpoints.save(number, state, {})
      held.append(time.perf_counter() - start)
      longer = timed() - usual
      checkpoints.finish()
      written = time.perf_counter() - start
      print(f'{number:>5} {held[-1]:>10.3f} {longer:>12.3f} {written:>10.1f}')
    checkpoints.close()
  print(f'median {statistics.median(held):.3f} s; a step takes {usual:.3f} s')


if __name__ == '__main__':
  main()
