"""Masking of tokens has the interface of diffusion: one sampler does both."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax import rng
from phenaki_jax.diffusion.process import Corrupted, Process, sample
from phenaki_jax.masked_transformer.draw import draw
from phenaki_jax.masked_transformer.losses import token_loss
from phenaki_jax.masked_transformer.masking import hide
from phenaki_jax.masked_transformer.schedules import hidden_share
from phenaki_jax.sampling.config import DecodeConfig
from phenaki_jax.sampling.decode import decode

CODES, TOKENS = 8, 12
TABLE = np.random.default_rng(0).normal(size=(TOKENS, CODES + 1, TOKENS, CODES))


@dataclasses.dataclass(frozen=True)
class Masking:
  """Hides tokens; the level is the share of hidden ones."""

  mask_id: int

  def corrupt(self, x, key):
    hidden = hide(key, maskable=jnp.ones(x.shape, bool))
    return Corrupted(
      x=jnp.where(hidden, self.mask_id, x), level=hidden.mean(-1), mask=hidden
    )

  def loss(self, output, x, corrupted):
    each = jax.vmap(jax.vmap(token_loss))
    return each(output, x, corrupted.mask).total

  def start(self, shape, keys):
    return jnp.full(shape, self.mask_id)

  def step(self, output, x, level, next_level, keys):
    of_draw = jax.vmap(lambda key: rng.stream(key, 'draw'))(keys)
    drawn, score = draw(of_draw, output, jnp.ones(len(x)))
    hidden = x == self.mask_id
    score = jnp.where(hidden, score, jnp.inf)
    rank = jnp.argsort(jnp.argsort(-score, -1), -1)
    kept = x.shape[1] - jnp.floor(x.shape[1] * next_level + 1e-3)
    shown = jnp.where(hidden, drawn, x)
    return jnp.where(rank < kept[:, None], shown, self.mask_id)


def _predict(x, level):
  """Return logits that depend on all tokens."""
  del level
  seen = jax.nn.one_hot(x, CODES + 1)
  return jnp.einsum('bnv,nvmw->bmw', seen, TABLE)


def test_one_sampler_decodes_as_the_sampler_of_tokens_does():
  process, steps = Masking(CODES), 5

  @jax.jit
  def both():
    keys = jax.vmap(rng.root)(jnp.arange(3, dtype=jnp.uint32))
    levels = hidden_share('cosine', jnp.arange(steps + 1) / steps)
    start = process.start((3, TOKENS), keys)
    expected = decode(
      _predict,
      ids=start,
      known=jnp.zeros(start.shape, bool),
      keys=keys,
      mask_id=CODES,
      config=DecodeConfig(steps=steps),
      temperature=jnp.ones(3),
      choice_temperature=jnp.zeros(3),
    )
    return sample(process, _predict, start, levels, keys), expected.ids

  found, expected = both()
  np.testing.assert_array_equal(found, expected)


def test_only_hidden_tokens_have_a_loss():
  process = Masking(CODES)
  assert isinstance(process, Process)
  ids = np.random.default_rng(1).integers(0, CODES, (4, TOKENS))

  @jax.jit
  def hidden(ids):
    corrupted = process.corrupt(ids, rng.root(1))
    return corrupted, process.loss(_predict(ids, None), ids, corrupted)

  corrupted, loss = hidden(jnp.asarray(ids, jnp.int32))
  assert ((loss > 0) == corrupted.mask).all()
  np.testing.assert_allclose(corrupted.level, corrupted.mask.mean(-1))


def test_an_object_without_steps_is_no_process():
  assert not isinstance(pytest, Process)
