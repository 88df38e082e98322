r"""The share of a training's time that its steps wait for data.

    python benchmarks/data_wait.py
    python benchmarks/data_wait.py --size 64 --config configs/generator/lpc.py

trains a generator twice, for the same steps: from raw files (the clips of
`loader.py`, 320 x 240) and from their cached tokens. It prints what `phenaki
goodput` says of both runs: seconds per step, and the share of the time of the
steps that they waited. The first step, which compiles, does not count. The
tokenizer, which the training from files runs, is trained for one step.
"""

import argparse
import dataclasses
import json
import pathlib
import sys
import tempfile

from loader import make_manifest

from phenaki_jax import sharding
from phenaki_jax.runs import encode, experiment, goodput
from phenaki_jax.runs.train import train


def measured(settings, workdir):
  """Train, and return the seconds of a step and the share of waiting."""
  train(settings, workdir)
  found = goodput.measure(goodput.read(workdir))
  seconds = found.seconds['steps'] + found.seconds['wait']
  # The first step is that of the compilation.
  return {
    'seconds_per_step': round(seconds / (found.steps - 1), 4),
    'wait_share': round(found.wait_share, 4),
  }


def main():
  """Print one JSON object."""
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--config', default='configs/generator/tiny.py')
  parser.add_argument('--set', action='append', default=[])
  parser.add_argument('--size', type=int, default=32)
  parser.add_argument('--clips', type=int, default=128)
  parser.add_argument('--steps', type=int, default=40)
  args = parser.parse_args()
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    source = {
      'layout': 'manifest',
      'path': str(make_manifest(folder / 'made', args.clips)),
    }
    data = [
      f'data.sources={json.dumps([source])}',
      f'data.size=[{args.size},{args.size}]',
      *('data.image_share=0', 'data.continuation_share=0'),
      *('data.heldout_share=0', 'data.frame_cache_bytes=0'),
      f'train.evaluate_every={10**6}',
      *args.set,
    ]
    kind = args.config.replace('generator', 'tokenizer')
    tokenizer = experiment.resolve(kind, [*data, 'train.steps=1'])
    train(tokenizer, folder / 'tokenizer')
    raw = experiment.resolve(
      args.config,
      [
        *data,
        f'tokenizer_dir={folder / "tokenizer"}',
        f'train.steps={args.steps}',
      ],
    )
    mesh = sharding.make_mesh(raw.mesh)
    encode.encode_tokens(raw, folder / 'tokens', steps=args.steps, mesh=mesh)
    cached = dataclasses.replace(raw.data, token_cache=str(folder / 'tokens'))
    found = {
      'raw': measured(raw, folder / 'raw'),
      'tokens': measured(
        dataclasses.replace(raw, data=cached), folder / 'cached'
      ),
    }
  print(json.dumps(found, indent=1))
  return 0


if __name__ == '__main__':
  sys.exit(main())
