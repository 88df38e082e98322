r"""Train tokenizers that differ in one thing, and compare what they decode.

    python benchmarks/tokenizer_losses.py losses --out runs/losses
    python benchmarks/tokenizer_losses.py frames --out runs/frames
    python benchmarks/tokenizer_losses.py losses --out runs/losses_lpc \
      --config configs/tokenizer/lpc.py:manifest=DIR

`losses` compares quantizers and terms of the loss; its perceptual network is
open_nsfw's ResNet-50, of the extra `eval`. `frames` compares a C-ViViT with the
per-frame ViT-VQGAN of the same width and depth (Phenaki, table 3). Every
tokenizer is trained by the loop of `phenaki train`, on the same batches for the
same steps, and decodes the same held-out clips. A run that is done is not
repeated. The table is printed as Markdown, and a picture is written beside the
runs: the originals and below them the frames of each tokenizer, in the order of
the table.
"""

import argparse
import contextlib
import dataclasses
import pathlib
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from phenaki_jax import config as config_lib
from phenaki_jax import sharding
from phenaki_jax.evaluation.reconstruction import psnr, ssim
from phenaki_jax.media.png import encode_png
from phenaki_jax.pixels import normalise, to_uint8
from phenaki_jax.runs.assemble import assemble, assemble_abstract
from phenaki_jax.runs.experiment import CONFIG_FILE, Experiment, resolve
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.tokenizer.cvivit import CViViT
from phenaki_jax.tokenizer.quantizers.base import code_use
from phenaki_jax.training import loop
from phenaki_jax.training.checkpoints import load_params
from phenaki_jax.training.collapse import CollapseAlarm
from phenaki_jax.training.events import Events
from phenaki_jax.training.writers import JsonlWriter

_PERCEPTUAL = {
  'image_perceptual': 0.1,
  'networks': {'image_network': 'open_nsfw'},
}
_ADVERSARIAL = {
  'adversarial': 0.1,
  'adversary': {'channels': (16, 32, 64), 'r1': 1.0, 'lecam': 0.01},
}
_VQ = {'quantizer': 'vq', 'vq_codes': 1600, 'vq_dim': 8}
_KEPT = {'codebook': {'kmeans': True, 'revive_after': 50}}

# Name: changes of the tokenizer, and of the losses. The codebooks have about
# the same size.
LOSSES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
  'FSQ, L2': ({}, {}),
  'VQ, L2': (_VQ, _KEPT),
  'LFQ, L2': ({'quantizer': 'lfq', 'lfq_bits': 11}, {}),
  'FSQ, L2 + open_nsfw': ({}, _PERCEPTUAL),
  'FSQ, L2 + open_nsfw + adversarial': ({}, _PERCEPTUAL | _ADVERSARIAL),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scores:
  """What a tokenizer reaches on held-out clips.

  Attributes:
    psnr: of frames, in dB.
    ssim: of frames.
    sharpness: differences of neighbouring pixels, in the originals' unit; 1 is
      as sharp as the originals.
    flicker: mean absolute error of the differences between frames, in levels
      of 0 to 255.
    usage: share of the codes that occur.
    perplexity: of the ids.
    tokens: of one clip.
    frames: the decoded frames that are shown, uint8 [frames, H, W, 3].
  """

  psnr: float
  ssim: float
  sharpness: float
  flicker: float
  usage: float
  perplexity: float
  tokens: int
  frames: np.ndarray


def main(argv: list[str]) -> None:
  """Train, compare, and print a table."""
  parser = argparse.ArgumentParser(description='Compare tokenizers.')
  tables = ['losses', 'frames']
  parser.add_argument('table', nargs='?', default='losses', choices=tables)
  parser.add_argument('--config', default='configs/tokenizer/tiny.py')
  parser.add_argument(
    '--out', default='runs/tokenizers', help='a folder for the runs'
  )
  parser.add_argument('--steps', type=int, default=300)
  parser.add_argument('--batch', type=int, default=8)
  parser.add_argument('--clips', type=int, default=32, help='held-out clips')
  parser.add_argument(
    '--only', nargs='+', help='the numbers of the tokenizers, from 1'
  )
  args = parser.parse_args(argv)
  base = resolve(
    args.config,
    [
      f'train.steps={args.steps}',
      f'train.checkpoint_every={args.steps}',
      f'data.batch_size={args.batch}',
      'data.image_share=0.25',
      'optim.opponent_learning_rate=1e-3',
      'optim.opponent_b1=0.0',
    ],
  )
  variants = _variants(base, args.table)
  out = pathlib.Path(args.out)
  results, clips = {}, None
  for number, (name, experiment) in enumerate(variants.items(), 1):
    if args.only and str(number) not in args.only:
      continue
    folder = out / str(number)
    _train(experiment, folder)
    if clips is None:
      clips = _heldout(experiment, args.clips)
    results[name] = _score(experiment.tokenizer, folder, clips)
  assert clips is not None
  print(table(results))
  picture = out / f'{args.table}.png'
  picture.write_bytes(encode_png(_picture(clips, results)))
  print(f'\nThe frames are in {picture}.')


def _train(experiment: Experiment, folder: pathlib.Path) -> None:
  """Train a tokenizer as `phenaki train` does, but without its evaluations."""
  mesh = sharding.make_mesh(experiment.mesh, devices=jax.devices()[:1])
  run = assemble(experiment, workdir=folder, mesh=mesh)
  with contextlib.closing(run.open_pipeline(experiment.data)) as pipeline:
    code = loop.train(
      task=run.task,
      optim=experiment.optim,
      config=experiment.train,
      batches=pipeline.iterate,
      data_fingerprint=pipeline.fingerprint,
      experiment=config_lib.to_dict(experiment),
      workdir=folder,
      mesh=mesh,
      files={CONFIG_FILE: config_lib.to_json(experiment).encode()},
      writers=[JsonlWriter(folder / 'metrics.jsonl'), CollapseAlarm()],
      evaluators=[],
      events=Events(folder),
      seed=experiment.seed,
    )
  if code:
    sys.exit(code)


def _variants(base: Experiment, table: str) -> dict[str, Experiment]:
  """Return the experiments to compare, by name."""
  if table == 'frames':
    return {
      'C-ViViT': base,
      'per-frame ViT-VQGAN': dataclasses.replace(
        base, tokenizer=base.tokenizer.per_frame()
      ),
    }
  found = {}
  for name, (tokenizer, losses) in LOSSES.items():
    values = config_lib.to_dict(base)
    values['tokenizer'] |= tokenizer
    values['losses'] |= losses
    found[name] = config_lib.build(Experiment, values)
  return found


def _heldout(experiment: Experiment, count: int) -> np.ndarray:
  """Return held-out clips, uint8 [count, T, H, W, 3]."""
  data = dataclasses.replace(
    experiment.data,
    split='heldout',
    num_threads=0,
    prefetch=0,
    image_share=0.0,
    batch_size=count,
  )
  mesh = sharding.make_mesh(experiment.mesh, devices=jax.devices()[:1])
  pipeline = assemble_abstract(experiment, mesh=mesh).open_pipeline(data)
  clips = pipeline.batch(0)['clips']
  whole = clips['num_frames'] == data.frames
  return clips['pixels'][whole]


def _score(
  config: TokenizerConfig, folder: pathlib.Path, clips: np.ndarray
) -> Scores:
  """Decode the clips with the averaged parameters, and measure the frames."""
  model = CViViT(config)
  params = load_params(folder).params

  @jax.jit
  def decode(params: Any, pixels: Any) -> Any:
    variables = {'params': params}
    ids = model.apply(variables, normalise(pixels), method='encode')
    return ids, to_uint8(model.apply(variables, ids, method='decode'))

  parts = [
    decode(params, part) for part in np.array_split(clips, len(clips) // 4 or 1)
  ]
  ids, decoded = (
    np.concatenate([np.asarray(part[i]) for part in parts]) for i in (0, 1)
  )
  one, other = clips.astype(np.float32), decoded.astype(np.float32)
  use = code_use(jnp.asarray(ids), jnp.ones(ids.shape), config.codebook_size)
  return Scores(
    psnr=float(np.mean(psnr(jnp.asarray(clips), jnp.asarray(decoded)))),
    ssim=float(np.mean(ssim(jnp.asarray(clips), jnp.asarray(decoded)))),
    sharpness=_edges(other) / _edges(one),
    flicker=float(np.abs(np.diff(other, axis=1) - np.diff(one, axis=1)).mean()),
    usage=float(use.usage),
    perplexity=float(use.perplexity),
    tokens=int(np.prod(ids.shape[1:])),
    frames=_shown(decoded),
  )


def _edges(frames: np.ndarray) -> float:
  """Return the mean difference of neighbouring pixels."""
  return float(
    np.abs(np.diff(frames, axis=2)).mean()
    + np.abs(np.diff(frames, axis=3)).mean()
  )


def _shown(clips: np.ndarray) -> np.ndarray:
  """Choose the first and the last frame of four clips."""
  return clips[:4, [0, -1]].reshape(-1, *clips.shape[2:])


def _picture(clips: np.ndarray, results: dict[str, Scores]) -> np.ndarray:
  """Return the frames, three times as large, a row for each tokenizer."""
  rows = [_shown(clips), *(scores.frames for scores in results.values())]
  picture = np.concatenate([np.concatenate(list(row), 1) for row in rows])
  return picture.repeat(3, axis=0).repeat(3, axis=1)


def table(results: dict[str, Scores]) -> str:
  """Return a Markdown table with a row for each tokenizer."""
  lines = [
    '| tokenizer | PSNR, dB | SSIM | sharpness | flicker | codes in use '
    '| perplexity | tokens |',
    '| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |',
  ]
  for name, x in results.items():
    lines.append(
      f'| {name} | {x.psnr:.2f} | {x.ssim:.3f} | {x.sharpness:.2f} '
      f'| {x.flicker:.2f} | {x.usage:.1%} | {x.perplexity:.0f} | {x.tokens} |'
    )
  return '\n'.join(lines)


if __name__ == '__main__':
  main(sys.argv[1:])
