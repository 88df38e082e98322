"""Segments keep apart, texts reach their own, grids may change."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax import rng, sharding
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.masked_transformer.model import MaskedTransformer

CONFIG = GeneratorConfig(
  codebook_size=12,
  grid=(3, 2, 2),
  width=16,
  num_layers=2,
  num_heads=2,
  mlp_dim=32,
)
LEARNED = dataclasses.replace(CONFIG, positions='learned')
GENERATOR = np.random.default_rng(0)
IDS = GENERATOR.integers(0, 13, size=(2, 3, 2, 2)).astype(np.int32)
TEXT = GENERATOR.normal(size=(2, 3, 5, 10)).astype(np.float32)
TEXT_MASK = np.arange(5)[None, None] < GENERATOR.integers(1, 6, (2, 3, 1))
# A row of three images, and one of two whose last place is empty.
SEGMENTS = np.array([[0, 1, 2], [0, 1, -1]], np.int32)
MOMENTS = np.zeros((2, 3), np.int32)


@functools.cache
def _boxed(config):
  return jax.eval_shape(
    MaskedTransformer(config).init,
    rng.root(0),
    jnp.zeros((1, *CONFIG.grid), jnp.int32),
    jnp.zeros((1, 1, 5, 10)),
    jnp.ones((1, 1, 5), bool),
  )['params']


@functools.cache
def _params(config):
  """Draw every parameter: those that start at zero would hide faults."""
  generator = np.random.default_rng(1)
  return jax.tree.map(
    lambda leaf: jnp.asarray(
      generator.normal(size=leaf.shape) / leaf.shape[0] ** 0.5, jnp.float32
    ),
    sharding.unbox(_boxed(config)),
  )


@functools.partial(jax.jit, static_argnums=0)
def _apply(config, params, *inputs):
  return MaskedTransformer(config).apply({'params': params}, *inputs)


def _logits(*inputs, config=CONFIG):
  return np.asarray(_apply(config, _params(config), *inputs))


def _whole(ids, config=CONFIG, row=0):
  """Predict with one text for the whole row."""
  text = TEXT[row : row + 1, :1].repeat(len(ids), 0)
  mask = TEXT_MASK[row : row + 1, :1].repeat(len(ids), 0)
  return _logits(ids, text, mask, config=config)


def test_logits_are_float32_whatever_the_compute():
  config = dataclasses.replace(CONFIG, dtype='bfloat16')
  logits = _whole(IDS, config=config)
  assert logits.shape == (2, 3, 2, 2, 12)
  assert logits.dtype == np.float32
  np.testing.assert_allclose(logits, _whole(IDS), atol=0.4)


def test_every_token_reaches_every_other():
  logits = _whole(IDS)
  for place in ((0, 0, 0), (2, 1, 1), (1, 0, 1)):
    other = IDS.copy()
    other[(0, *place)] = (other[(0, *place)] + 5) % 12
    moved = np.abs(_whole(other) - logits).max(-1)
    assert (moved[0] > 1e-6).all()
    assert not moved[1].any()


def test_the_mask_is_a_token_of_its_own():
  hidden = np.full_like(IDS, 12)
  for token in range(12):
    other = _whole(np.full_like(IDS, token))
    assert np.abs(other - _whole(hidden)).max() > 1e-3


@pytest.mark.parametrize('changed', [0, 1, 2])
def test_segments_see_no_tokens_of_others(changed):
  logits = _logits(IDS, TEXT, TEXT_MASK, SEGMENTS)
  other = IDS.copy()
  other[:, changed] = (other[:, changed] + 1) % 12
  moved = np.abs(_logits(other, TEXT, TEXT_MASK, SEGMENTS) - logits)
  moved = moved.max((2, 3, 4)) > 0
  np.testing.assert_array_equal(moved, [np.arange(3) == changed] * 2)


def test_segments_see_no_text_of_others():
  """Take the gradient of each segment's logits in every text."""

  params = _params(CONFIG)

  def pulls(segment):
    def total(text):
      logits = _apply(CONFIG, params, IDS, text, TEXT_MASK, SEGMENTS)
      own = (SEGMENTS == segment)[:, :, None, None, None]
      return jnp.sum(jnp.where(own, logits, 0.0) ** 2)

    return jax.grad(total)(jnp.asarray(TEXT))

  pulled = np.asarray(jax.jit(jax.vmap(pulls))(np.arange(3)))
  # [segment, row, text, word]
  pulled = np.abs(pulled).max(-1) > 0
  for segment, row in np.ndindex(3, 2):
    own = np.zeros((3, 5), bool)
    if segment in SEGMENTS[row]:
      own[segment] = TEXT_MASK[row, segment]
    np.testing.assert_array_equal(pulled[segment, row], own)


@pytest.mark.parametrize('row', [0, 1])
def test_packed_images_equal_lone_ones(row):
  packed = _logits(IDS, TEXT, TEXT_MASK, SEGMENTS, MOMENTS)
  for step, segment in enumerate(SEGMENTS[row]):
    if segment < 0:
      continue
    alone = _logits(
      IDS[row : row + 1, step : step + 1],
      TEXT[row : row + 1, segment : segment + 1],
      TEXT_MASK[row : row + 1, segment : segment + 1],
    )
    np.testing.assert_allclose(packed[row, step], alone[0, 0], atol=1e-5)


def test_one_segment_equals_none():
  text, mask = TEXT[:, :1], TEXT_MASK[:, :1]
  np.testing.assert_allclose(
    _logits(IDS, text, mask, np.zeros((2, 3), np.int32)),
    _logits(IDS, text, mask),
    atol=1e-5,
  )


def test_steps_of_no_segment_change_nothing():
  segments = np.array([[0, 0, -1]] * 2, np.int32)
  text, mask = TEXT[:, :1], TEXT_MASK[:, :1]
  logits = _logits(IDS, text, mask, segments)
  other = IDS.copy()
  other[:, 2] = 12 - other[:, 2]
  np.testing.assert_array_equal(
    _logits(other, text, mask, segments)[:, :2], logits[:, :2]
  )
  np.testing.assert_allclose(
    logits[:, :2], _logits(IDS[:, :2], text, mask), atol=1e-5
  )


@pytest.mark.parametrize('grid', [(1, 2, 2), (5, 3, 4)])
def test_rotary_positions_extend_to_other_grids(grid):
  ids = np.random.default_rng(2).integers(0, 13, (1, *grid)).astype(np.int32)
  logits = _whole(ids)
  assert logits.shape == (1, *grid, 12)
  assert np.isfinite(logits).all()


@pytest.mark.parametrize('config', [CONFIG, LEARNED])
def test_every_place_is_told_apart(config):
  logits = _whole(np.full_like(IDS[:1], 12), config=config).reshape(12, 12)
  apart = np.abs(logits[:, None] - logits[None]).max(-1)
  assert (apart + np.eye(12) > 1e-4).all()


def test_learned_positions_refuse_other_grids():
  with pytest.raises(ValueError, match='learned positions fit the grid'):
    _whole(IDS[:, :2], config=LEARNED)


def test_texts_without_segments_are_a_sentence():
  with pytest.raises(ValueError, match='3 texts a row need segments'):
    _logits(IDS, TEXT, TEXT_MASK)


@pytest.mark.parametrize('config', [CONFIG, LEARNED])
def test_moments_say_where_steps_stand(config):
  text, mask = TEXT[:, :1], TEXT_MASK[:, :1]
  segments = np.zeros((2, 3), np.int32)

  def run(ids, moments):
    return _logits(ids, text, mask, segments, moments, config=config)

  inner = np.array([[0, 1, 2]] * 2, np.int32)
  expected = _logits(IDS, text, mask, segments, config=config)
  np.testing.assert_array_equal(run(IDS, inner), expected)
  assert np.abs(run(IDS, inner[:, ::-1]) - expected).max() > 1e-3
