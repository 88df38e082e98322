"""A model and a stream small enough to train many times, and as a program.

The loss uses the batch, the parameters and a random key, so that a resumed run
that loses any of them shows it.
"""

import argparse
import json
import os
import signal
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from phenaki_jax import rng as rngs
from phenaki_jax import sharding
from phenaki_jax.training import loop
from phenaki_jax.training.config import OptimConfig, TrainConfig
from phenaki_jax.training.metrics import Mean
from phenaki_jax.training.writers import JsonlWriter

ROWS = 8


class Net(nn.Module):
  @nn.compact
  def __call__(self, x):
    init = nn.initializers.lecun_normal()
    w = self.param(
      'kernel', sharding.logical(init, 'embed', 'mlp'), (x.shape[-1], 16)
    )
    b = self.param(
      'bias', sharding.logical(nn.initializers.zeros, 'mlp'), (16,)
    )
    v = self.param('out', sharding.logical(init, 'mlp', 'embed'), (16, 12))
    return jnp.tanh(x @ w + b[None]) @ v


class ToyTask:
  """Denoise rows; `break_at` makes the loss NaN at batches that say so."""

  frozen = {'offset': np.full((1, 12), 0.25, np.float32)}

  def init(self, rng):
    return Net().init(rng, jnp.zeros((1, 12)))['params']

  def loss(self, params, frozen, batch, rng, *, deterministic=False):
    x = batch['clips']['pixels'].astype(jnp.float32) / 255.0
    noise = jax.random.normal(rngs.stream(rng, 'noise'), x.shape)
    y = Net().apply({'params': params}, x + 0.1 * noise)
    square = jnp.square(y - x - frozen['offset']).mean(-1)
    spoil = jnp.where(batch['clips']['spoil'] > 0, jnp.nan, 0.0)
    loss = square.mean() + spoil.sum()
    metrics = {'square': Mean.of(square), 'spoil': Mean.of(spoil)}
    return loss, jax.lax.stop_gradient(metrics)


def batch(step, *, rows=slice(None), spoil_at=-1):
  """Return the batch of a step (the first is 0)."""
  pixels = np.random.default_rng((5, step)).integers(
    0, 256, (ROWS, 12), dtype=np.uint8
  )
  spoil = np.full(ROWS, step == spoil_at, np.int32)
  return {'clips': {'pixels': pixels[rows], 'spoil': spoil[rows]}}


def batches(start, **kwargs):
  step = start
  while True:
    yield batch(step, **kwargs)
    step += 1


EXPERIMENT = {'kind': 'toy', 'seed': 3, 'tokenizer': {'width': 12}}


def train(workdir, *, steps=12, stream=batches, mesh=None, **kwargs):
  """Train the toy; return the exit code."""
  settings = {
    'task': ToyTask(),
    'optim': OptimConfig(learning_rate=0.01, warmup_steps=3, ema_decay=0.9),
    'config': TrainConfig(steps=steps, log_every=5, checkpoint_every=4),
    'batches': stream,
    'data_fingerprint': 'toy data',
    'experiment': EXPERIMENT,
    'workdir': workdir,
    'mesh': mesh
    or sharding.make_mesh(sharding.MeshConfig(), devices=jax.devices()[:1]),
    'files': {},
    'writers': [JsonlWriter(os.path.join(workdir, 'metrics.jsonl'))],
    'evaluators': [],
    'seed': 3,
    **kwargs,
  }
  return loop.train(**settings)


def records(workdir):
  """Read what was logged, without what depends on the clock."""
  with open(os.path.join(workdir, 'metrics.jsonl')) as file:
    lines = [json.loads(line) for line in file]
  clocks = ('_per_second', 'data_wait')
  return [
    {k: v for k, v in line.items() if not k.endswith(clocks)} for line in lines
  ]


class Sampler:
  """Evaluate every third step, slowly enough to be hit by a signal."""

  every = 3

  def __init__(self, at=-1, number=signal.SIGKILL):
    self.at, self.number = at, number

  def run(self, step, state):
    yield 'eval/first', float(state.params['bias'][0])
    if step == self.at:
      os.kill(os.getpid(), self.number)
    yield 'eval/second', float(state.ema['bias'][0])
    yield 'eval/third', float(state.ema['bias'][1])


def main(argv):
  """Train in a process of its own, hit by a signal where it is asked to."""
  parser = argparse.ArgumentParser()
  parser.add_argument('workdir')
  parser.add_argument('--steps', type=int, default=12)
  parser.add_argument('--signal', default='SIGKILL')
  parser.add_argument('--at', type=int, default=-1)
  parser.add_argument('--where', default='data', choices=['data', 'evaluator'])
  parser.add_argument('--pause', type=float, default=0.0)
  args = parser.parse_args(argv)
  number = signal.Signals[args.signal]

  def stream(start):
    for step, content in enumerate(batches(start), start):
      if args.where == 'data' and step == args.at:
        os.kill(os.getpid(), number)
      time.sleep(args.pause)
      yield content

  at = args.at if args.where == 'evaluator' else -1
  return train(
    args.workdir,
    steps=args.steps,
    stream=stream,
    evaluators=[Sampler(at, number)],
  )


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
