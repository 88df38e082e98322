r"""Training steps of a generator from cached tokens and from pixels.

    python benchmarks/token_cache.py --config configs/generator/tiny.py \
      --set tokenizer_dir=runs/tokenizer --steps 30

encodes the examples of these steps into a temporary cache, then trains the same
generator from both, in turn. Without `tokenizer_dir`, the tokenizer config of
the same name is trained for one step first. It prints the loss of every step of
both, and the median seconds per step of the clock and of the CPU (of all cores;
other programs disturb them less), the first step left out. Both include the
reading of the data; `data.frame_cache_bytes=0` reads every file anew.
"""

import argparse
import contextlib
import dataclasses
import json
import statistics
import sys
import tempfile
import time

from phenaki_jax import rng, sharding
from phenaki_jax.runs import assemble, encode, experiment
from phenaki_jax.runs.train import train as run_training
from phenaki_jax.training.state import create_state, place_frozen
from phenaki_jax.training.step import compile_step, make_step


def train(settings, workdir, steps):
  """Return losses, seconds and CPU seconds of the first steps of a run."""
  mesh = sharding.make_mesh(settings.mesh)
  run = assemble.assemble(settings, workdir=workdir, mesh=mesh)
  root = rng.root(settings.seed)
  decay = settings.optim.ema_decay
  step = compile_step(
    make_step(run.task, run.optimizer, ema_decay=decay), run.state
  )
  state = create_state(
    run.task, run.optimizer, run.state, rng.stream(root, 'init')
  )
  frozen = place_frozen(run.task, mesh)
  losses, seconds, cpu = [], [], []
  with contextlib.closing(run.open_pipeline(settings.data)) as pipeline:
    batches = pipeline.iterate()
    for _ in range(steps):
      began, spent = time.perf_counter(), time.process_time()
      batch = sharding.global_batch(next(batches), mesh)
      state, metrics = step(state, batch, root, frozen)
      losses.append(float(metrics['loss'].sum / metrics['loss'].count))
      seconds.append(time.perf_counter() - began)
      cpu.append(time.process_time() - spent)
  return losses, seconds, cpu


def main():
  """Print one JSON object per step, and one with the summary."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--config', default='configs/generator/tiny.py')
  parser.add_argument('--set', action='append', default=[])
  parser.add_argument('--steps', type=int, default=30)
  args = parser.parse_args()
  with tempfile.TemporaryDirectory() as folder:
    if not any(entry.startswith('tokenizer_dir=') for entry in args.set):
      kind = args.config.replace('generator', 'tokenizer')
      tokenizer = experiment.resolve(kind, ['train.steps=1'])
      run_training(tokenizer, f'{folder}/tokenizer')
      args.set.append(f'tokenizer_dir={folder}/tokenizer')
    settings = experiment.resolve(args.config, args.set)
    began = time.perf_counter()
    mesh = sharding.make_mesh(settings.mesh)
    encode.encode_tokens(
      settings, f'{folder}/tokens', steps=args.steps, mesh=mesh
    )
    encoding = time.perf_counter() - began
    cached = dataclasses.replace(settings.data, token_cache=f'{folder}/tokens')
    variants = {
      'pixels': settings,
      'tokens': dataclasses.replace(settings, data=cached),
    }
    found = {
      name: train(one, folder, args.steps) for name, one in variants.items()
    }
  losses = {name: values[0] for name, values in found.items()}
  for step, values in enumerate(zip(*losses.values(), strict=True), 1):
    print(json.dumps({'step': step, **dict(zip(losses, values, strict=True))}))
  summary = {'equal_losses': losses['pixels'] == losses['tokens']}
  for place, what in ((1, 'seconds'), (2, 'cpu_seconds')):
    times = {
      name: statistics.median(values[place][1:])
      for name, values in found.items()
    }
    summary |= {f'{what}_per_step_{name}': one for name, one in times.items()}
    summary[f'times_fewer_{what}'] = times['pixels'] / times['tokens']
  summary['seconds_to_encode'] = encoding
  print(json.dumps(summary, indent=1))
  return 0 if losses['pixels'] == losses['tokens'] else 1


if __name__ == '__main__':
  sys.exit(main())
