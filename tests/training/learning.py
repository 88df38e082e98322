"""Train small generators on clips that a test draws."""

import jax
import numpy as np

from phenaki_jax import rng, sharding
from phenaki_jax.sampling.sampler import Models, Sampler
from phenaki_jax.text.config import TextConfig
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.training.config import OptimConfig
from phenaki_jax.training.optim import make_optimizer
from phenaki_jax.training.state import (
  abstract_state,
  boxed_params,
  create_state,
)
from phenaki_jax.training.step import compile_step, make_step

# Tokens depend on their own patch alone, so that each colour has one.
TOKENIZER = TokenizerConfig(
  patch=(4, 4),
  tubelet=1,
  first_frame='repeated',
  width=16,
  num_heads=2,
  mlp_dim=16,
  spatial_layers=0,
  temporal_layers=0,
  fsq_levels=(8, 8),
)
# For captions of a few words.
TEXT = TextConfig(
  vocab_size=40,
  width=32,
  num_layers=1,
  num_heads=2,
  head_dim=16,
  mlp_dim=64,
  max_length=8,
)


def train(task, draw, *, steps, vocabulary, adam_learning_rate=2e-2):
  """Train a generator; return its sampler, with the averaged parameters.

  Args:
    task: a `GeneratorTask` with the parameters of its tokenizer.
    draw: makes the clips of a batch, given a generator of random numbers.
    steps: number of steps.
    vocabulary: of the sampler.
    adam_learning_rate: of what Muon does not update.
  """
  return Sampler(
    models=Models(
      tokenizer=task.tokenizer, generator=task.config, text=task.text
    ),
    tokenizer_params=task.tokenizer_params,
    generator_params=fit(
      task,
      draw,
      steps,
      optimizer='muon',
      learning_rate=5e-3,
      adam_learning_rate=adam_learning_rate,
    ),
    vocabulary=vocabulary,
  )


def fit(task, draw, steps, **optim):
  """Train any task as `OptimConfig` says; return the averaged parameters."""
  optim = OptimConfig(warmup_steps=20, ema_decay=0.98, **optim)
  optimizer = make_optimizer(
    optim, steps=steps, params=boxed_params(task), unoptimized=task.fixed
  )
  mesh = sharding.make_mesh(
    sharding.MeshConfig(data=1), devices=jax.devices()[:1]
  )
  abstract = abstract_state(task, optimizer, mesh)
  state = create_state(task, optimizer, abstract, rng.root(0))
  step = compile_step(
    make_step(task, optimizer, ema_decay=optim.ema_decay), abstract
  )
  bits = np.random.default_rng(0)
  for _ in range(steps):
    batch = {'clips': draw(bits)}
    state, _ = step(state, batch, rng.root(1), task.frozen)
  return state.ema
