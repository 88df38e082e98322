"""Two tasks that train within seconds, and a program that trains one of them.

Their losses depend on the batch, the parameters and a random key, so that a
resumed run that loses any of these differs.
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
from phenaki_jax.training.events import Events
from phenaki_jax.training.metrics import Mean
from phenaki_jax.training.state import Role, Task
from phenaki_jax.training.writers import JsonlWriter

ROWS = 8


class Net(nn.Module):
  @nn.compact
  def __call__(self, x):
    init = nn.initializers.lecun_normal()
    w = self.param(
      'kernel',
      sharding.logical(init, 'embed', 'mlp', inputs=1, decay=True),
      (x.shape[-1], 16),
    )
    b = self.param(
      'bias', sharding.logical(nn.initializers.zeros, 'mlp'), (16,)
    )
    v = self.param(
      'out', sharding.logical(init, 'mlp', 'embed', decay=True), (16, 12)
    )
    return jnp.tanh(x @ w + b[None]) @ v


class ToyTask(Task):
  """Denoise rows; the loss is NaN for batches marked as spoilt."""

  frozen = {'offset': np.full((1, 12), 0.25, np.float32)}

  def init(self, rng):
    return Net().init(rng, jnp.zeros((1, 12)))['params']

  def init_frozen(self, rng):
    init = sharding.logical(nn.initializers.zeros, None, 'embed')
    return {'offset': init(rng, (1, 12))}

  def loss(self, params, frozen, batch, rng, *, deterministic=False):
    del deterministic
    x = batch['clips']['pixels'].astype(jnp.float32) / 255.0
    noise = jax.random.normal(rngs.stream(rng, 'noise'), x.shape)
    y = Net().apply({'params': params}, x + 0.1 * noise)
    square = jnp.square(y - x - frozen['offset']).mean(-1)
    spoil = jnp.where(batch['clips']['spoil'] > 0, jnp.nan, 0.0)
    loss = square.mean() + spoil.sum()
    metrics = {
      'loss': Mean.of(loss),
      'square': Mean.of(square),
      'spoil': Mean.of(spoil),
    }
    return loss, jax.lax.stop_gradient(metrics)


class DuelTask(Task):
  """Train a generator of numbers against a critic of them.

  Real numbers have mean 2 and standard deviation 0.5. Both players have
  non-saturating losses, and their gradients come from one forward pass.
  """

  def __init__(self, start=0):
    self.roles = {'critic': Role(kind='opponent', start=start)}

  def init(self, rng):
    keys = jax.random.split(rng)
    zeros, normal = nn.initializers.zeros, nn.initializers.normal(1.0)
    matrix = sharding.logical(normal, None, 'mlp', inputs=1, decay=True)
    scale = sharding.logical(nn.initializers.ones, None)
    return {
      'critic': {
        'kernel': matrix(keys[0], (1, 16)),
        'bias': sharding.logical(normal, 'mlp')(keys[1], (16,)),
        'out': sharding.logical(zeros, 'mlp')(rng, (16,)),
      },
      'scale': scale(rng, (1,)),
      'shift': sharding.logical(zeros, None)(rng, (1,)),
    }

  def losses(self, params, batch, rng):
    """Return the losses of the generator and of the critic."""
    rows = batch['clips']['pixels'].reshape(-1, 1)
    real = 2.0 + 1.75 * (rows / 255.0 - 0.5)
    noise = jax.random.normal(rngs.stream(rng, 'noise'), real.shape)
    fake = params['shift'][None] + params['scale'][None] * noise

    def scores(numbers):
      critic = params['critic']
      hidden = jnp.tanh(numbers @ critic['kernel'] + critic['bias'][None])
      return hidden @ critic['out']

    of_real, of_fake = scores(real), scores(fake)
    spoil = jnp.where(batch['clips']['spoil'] > 0, jnp.nan, 0.0).sum()
    generator = jax.nn.softplus(-of_fake).mean()
    critic = jax.nn.softplus(of_fake) + jax.nn.softplus(-of_real)
    return generator, critic.mean() + spoil

  def gradients(self, params, frozen, batch, rng):
    losses, pull = jax.vjp(lambda p: self.losses(p, batch, rng), params)
    (grads,), (critic,) = pull((1.0, 0.0)), pull((0.0, 1.0))
    metrics = {'loss': Mean.of(losses[0]), 'loss_critic': Mean.of(losses[1])}
    return {**grads, 'critic': critic['critic']}, metrics


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


OPTIM = OptimConfig(learning_rate=0.01, warmup_steps=3, ema_decay=0.9)
EXPERIMENT = {'kind': 'toy', 'seed': 3, 'tokenizer': {'width': 12}}


def train(workdir, *, steps=12, stream=batches, mesh=None, **kwargs):
  """Train a toy; return the exit code."""
  settings = {
    'task': ToyTask(),
    'optim': OPTIM,
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
    'events': Events(workdir, interval=0.0),
    'seed': 3,
    **kwargs,
  }
  return loop.train(**settings)


def records(workdir):
  """Read the logged records, without values that depend on the clock."""
  with open(os.path.join(workdir, 'metrics.jsonl')) as file:
    lines = [json.loads(line) for line in file]
  clocks = ('_per_second', 'data_wait')
  return [
    {k: v for k, v in line.items() if not k.endswith(clocks)} for line in lines
  ]


def content(workdir, step):
  """Return the checksum of every array of a checkpoint, and its digests."""
  path = os.path.join(workdir, 'checkpoints', str(step), 'manifest.json')
  with open(path) as file:
    manifest = json.load(file)
  return manifest['arrays'], manifest['json']


class Sampler:
  """Evaluate every third step, and send a signal at one of them."""

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
  """Train in a process of its own, which may send itself a signal."""
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
