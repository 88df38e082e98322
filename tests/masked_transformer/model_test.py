"""Segments are independent, read their own texts, and grids may vary."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax import rng, sharding
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.masked_transformer.model import MaskedTransformer
from phenaki_jax.nn.attention import Packing
from phenaki_jax.nn.conditions import Conditions

CONFIG = GeneratorConfig(
  codebook_size=12,
  grid=(3, 2, 2),
  width=16,
  num_layers=2,
  num_heads=2,
  mlp_dim=32,
)
LEARNED = dataclasses.replace(CONFIG, positions='learned')
FACTORIZED = dataclasses.replace(CONFIG, attention='factorized')
GENERATOR = np.random.default_rng(0)
IDS = GENERATOR.integers(0, 13, size=(2, 3, 2, 2)).astype(np.int32)
# Six texts, one for each latent frame of two packed rows.
TEXT = GENERATOR.normal(size=(6, 5, 10)).astype(np.float32)
TEXT_MASK = np.arange(5)[None] < GENERATOR.integers(1, 6, (6, 1))
# A row of three images, and one of two images and an empty latent frame.
SEGMENTS = np.array([[0, 1, 2], [0, 1, -1]], np.int32)
FRAMES_AT = np.zeros((2, 3), np.int32)
TEXT_INDEX = np.arange(6).reshape(2, 3)
PACKED = (TEXT, TEXT_MASK, SEGMENTS, FRAMES_AT, Packing(packed=2))
# One text per row.
OWN = (TEXT[:2], TEXT_MASK[:2])


@functools.cache
def _boxed(config):
  return jax.eval_shape(
    MaskedTransformer(config).init,
    rng.root(0),
    jnp.zeros((1, *CONFIG.grid), jnp.int32),
    jnp.zeros((1, 5, 10)),
    jnp.ones((1, 5), bool),
  )['params']


@functools.cache
def _params(config):
  """Draw every parameter, as those that start at zero could hide errors."""
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


def _whole(ids, config=CONFIG):
  """Predict with the same text for all rows."""
  text = TEXT[:1].repeat(len(ids), 0)
  mask = TEXT_MASK[:1].repeat(len(ids), 0)
  return _logits(ids, text, mask, config=config)


def test_logits_are_float32_whatever_the_compute():
  config = dataclasses.replace(CONFIG, dtype='bfloat16')
  logits = _whole(IDS, config=config)
  assert logits.shape == (2, 3, 2, 2, 12)
  assert logits.dtype == np.float32
  np.testing.assert_allclose(logits, _whole(IDS), atol=0.4)


def test_gradients_in_bfloat16_are_those_of_float32():
  """Most tokens hit the one vector of hidden tokens, whose sum must not stop.

  A gather in bfloat16 halves the norm of that vector's gradient.
  """
  generator = np.random.default_rng(3)
  ids = generator.integers(0, 12, (128, *CONFIG.grid))
  ids = np.where(generator.random(ids.shape) < 0.67, 12, ids)
  text, mask = TEXT[:1].repeat(128, 0), TEXT_MASK[:1].repeat(128, 0)

  def grads(dtype):
    config = dataclasses.replace(LEARNED, num_layers=1, dtype=dtype)

    def loss(params):
      logits = _apply(config, params, ids, text, mask)
      # The same target everywhere, so that the gradients of tokens add up.
      return -jnp.mean(jax.nn.log_softmax(logits)[..., 3])

    return jax.jit(jax.grad(loss))(_params(config))

  def compare(path, rough, exact):
    error = np.linalg.norm(rough - exact) / np.linalg.norm(exact)
    assert error < 0.06, (jax.tree_util.keystr(path), error)

  jax.tree_util.tree_map_with_path(compare, grads('bfloat16'), grads('float32'))


def test_learned_positions_start_as_large_as_tokens():
  config = dataclasses.replace(LEARNED, width=64, num_layers=1)
  inputs = jnp.asarray(IDS[:1]), jnp.zeros((1, 5, 10)), jnp.ones((1, 5), bool)

  @jax.jit
  def ratio():
    # Of all parameters only these two are computed.
    variables = MaskedTransformer(config).init(rng.root(0), *inputs)
    params = sharding.unbox(variables['params'])
    return params['positions'].std() / params['tokens']['embedding'].std()

  assert 0.8 < ratio() < 1.25


def test_factorized_attention_is_within_frames_and_over_time():
  """One block mixes a frame and a place; two blocks mix all tokens."""
  config = dataclasses.replace(FACTORIZED, num_layers=1)
  params = jax.tree.map(np.array, _params(config))
  # Without the second layer of a block, a token reads its own frame alone.
  off = jax.tree.map(np.copy, params)
  off['blocks']['block_0']['time']['out']['kernel'][:] = 0
  other = IDS.copy()
  other[0, 1, 0, 1] = (other[0, 1, 0, 1] + 5) % 12

  def moved(params):
    return np.abs(
      np.asarray(_apply(config, params, other, *OWN))
      - np.asarray(_apply(config, params, IDS, *OWN))
    ).max(-1)

  within = moved(off)[0] > 1e-6
  assert within[1].all() and not within[0].any() and not within[2].any()
  assert (moved(params)[0] > 1e-7).all()
  assert not moved(params)[1].any()


def test_text_of_another_width_is_refused():
  config = dataclasses.replace(CONFIG, text_width=4096)
  with pytest.raises(ValueError, match='10 wide, but text_width is 4096'):
    _boxed(config)


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
@pytest.mark.parametrize('config', [CONFIG, FACTORIZED])
def test_segments_do_not_read_tokens_of_others(changed, config):
  logits = _logits(IDS, *PACKED, config=config)
  other = IDS.copy()
  other[:, changed] = (other[:, changed] + 1) % 12
  moved = np.abs(_logits(other, *PACKED, config=config) - logits)
  moved = moved.max((2, 3, 4)) > 0
  np.testing.assert_array_equal(moved, [np.arange(3) == changed] * 2)


def test_segments_read_only_their_own_text():
  """Differentiate the logits of each latent frame in every text."""
  params = _params(CONFIG)

  def pulls(row, frame):
    def total(text):
      logits = _apply(CONFIG, params, IDS, text, *PACKED[1:])
      return jnp.sum(logits[row, frame] ** 2)

    return jax.grad(total)(jnp.asarray(TEXT))

  rows, frames = np.nonzero(SEGMENTS >= 0)
  pulled = np.asarray(jax.jit(jax.vmap(pulls))(rows, frames))
  # [latent frame, text, word]
  pulled = np.abs(pulled).max(-1) > 0
  for found, row, frame in zip(pulled, rows, frames, strict=True):
    own = np.arange(6)[:, None] == TEXT_INDEX[row, frame]
    np.testing.assert_array_equal(found, own & TEXT_MASK)


@pytest.mark.parametrize('row', [0, 1])
def test_packed_images_equal_single_images(row):
  packed = _logits(IDS, *PACKED)
  for frame, segment in enumerate(SEGMENTS[row]):
    if segment < 0:
      continue
    own = slice(TEXT_INDEX[row, frame], TEXT_INDEX[row, frame] + 1)
    alone = _logits(
      IDS[row : row + 1, frame : frame + 1], TEXT[own], TEXT_MASK[own]
    )
    np.testing.assert_allclose(packed[row, frame], alone[0, 0], atol=1e-5)


def test_one_segment_equals_none():
  np.testing.assert_allclose(
    _logits(IDS, *OWN, np.zeros((2, 3), np.int32)),
    _logits(IDS, *OWN),
    atol=1e-5,
  )


def test_texts_of_rows_equal_those_of_latent_frames():
  segments, frames = np.zeros((2, 3), np.int32), np.array([[0, 1, 2]] * 2)
  own = _logits(IDS, TEXT[:2], TEXT_MASK[:2])
  for packing, index in (
    (Packing(), [0, 1]),
    (Packing(packed=2), [0, 0, 0, 1, 1, 1]),
    (Packing(packed=1), [0, 1, 1, 1]),
    (Packing(groups=2, packed=1), [0, 0, 0, 1, 1, 1]),
  ):
    found = _logits(
      IDS, TEXT[index], TEXT_MASK[index], segments, frames, packing
    )
    np.testing.assert_allclose(found, own, atol=1e-5)


def test_empty_latent_frames_have_no_effect():
  segments = np.array([[0, 0, -1]] * 2, np.int32)
  logits = _logits(IDS, *OWN, segments)
  other = IDS.copy()
  other[:, 2] = 12 - other[:, 2]
  np.testing.assert_array_equal(
    _logits(other, *OWN, segments)[:, :2], logits[:, :2]
  )
  np.testing.assert_allclose(
    logits[:, :2], _logits(IDS[:, :2], *OWN), atol=1e-5
  )


@pytest.mark.parametrize('grid', [(1, 2, 2), (5, 3, 4)])
def test_rotary_positions_extend_to_other_grids(grid):
  ids = np.random.default_rng(2).integers(0, 13, (1, *grid)).astype(np.int32)
  logits = _whole(ids)
  assert logits.shape == (1, *grid, 12)
  assert np.isfinite(logits).all()


@pytest.mark.parametrize('config', [CONFIG, LEARNED])
def test_every_position_is_distinguished(config):
  logits = _whole(np.full_like(IDS[:1], 12), config=config).reshape(12, 12)
  apart = np.abs(logits[:, None] - logits[None]).max(-1)
  assert (apart + np.eye(12) > 1e-4).all()


def test_learned_positions_refuse_other_grids():
  with pytest.raises(ValueError, match='learned positions support the grid'):
    _whole(IDS[:, :2], config=LEARNED)


@pytest.mark.parametrize('config', [CONFIG, LEARNED])
def test_positions_are_those_of_latent_frames_in_the_clip(config):
  segments = np.zeros((2, 3), np.int32)

  def run(frames_at):
    return _logits(IDS, *OWN, segments, frames_at, config=config)

  in_row = np.array([[0, 1, 2]] * 2, np.int32)
  expected = _logits(IDS, *OWN, segments, config=config)
  np.testing.assert_array_equal(run(in_row), expected)
  assert np.abs(run(in_row[:, ::-1]) - expected).max() > 1e-3


@pytest.mark.parametrize('scan', [False, True])
def test_dropout_needs_a_key(scan):
  plain = dataclasses.replace(CONFIG, scan=scan)
  config = dataclasses.replace(plain, dropout=0.5)
  params = _params(plain)

  @jax.jit
  def apply(inputs, rngs):
    return MaskedTransformer(config).apply(
      {'params': params}, *inputs, rngs=rngs
    )

  def run(**rngs):
    return apply((IDS, *OWN), rngs)

  logits = _logits(IDS, *OWN, config=plain)
  np.testing.assert_allclose(run(), logits, atol=1e-5)
  dropped, other = (run(dropout=rng.root(seed)) for seed in (0, 1))
  assert np.abs(dropped - logits).max() > 0.1
  assert np.abs(dropped - other).max() > 0.1


@functools.partial(jax.jit, static_argnums=0)
def _switched_program(config, params, ids, over_time, frames_at):
  return MaskedTransformer(config).apply(
    {'params': params},
    *(ids, jnp.asarray(TEXT[:2]), jnp.asarray(TEXT_MASK[:2])),
    frames_at=frames_at,
    conditions=Conditions(over_time=over_time),
  )


def _switched(params, ids, over_time, frames_at=(0, 1, 2), config=FACTORIZED):
  """Predict with the layers over time on or off at each latent frame."""
  places = np.array([frames_at] * 2, np.int32)
  return np.asarray(
    _switched_program(config, params, ids, np.array(over_time), places)
  )


def _from_image_model(value=0.0):
  """Return a clip network of the weights of an image network."""
  params = jax.tree.map(np.array, _params(FACTORIZED))
  for block in params['blocks'].values():
    block['time']['out']['kernel'][:] = value
  return params


ON, OFF = [True] * 3, [False] * 3


def test_a_clip_network_starts_as_the_image_network_on_every_frame():
  params = _from_image_model()
  clips = _switched(params, IDS, [ON, ON])
  # To the last bit with the layers over time off, whatever their weights.
  off = _switched(_params(FACTORIZED), IDS, [OFF, OFF])
  np.testing.assert_array_equal(off, clips)
  # Each frame as an image of its own.
  index, images = [0, 0, 0, 1, 1, 1], np.array([[0, 1, 2]] * 2, np.int32)
  each = _apply(
    FACTORIZED,
    params,
    *(IDS, TEXT[index], TEXT_MASK[index], images, images, Packing(packed=2)),
  )
  np.testing.assert_allclose(each, clips, atol=1e-5)


def test_a_still_clip_stays_still_until_time_is_learned():
  still, same = IDS[:, :1].repeat(3, 1), (0, 0, 0)
  frames = _switched(_from_image_model(), still, [ON, ON], same)
  np.testing.assert_allclose(frames, frames[:, :1].repeat(3, 1), atol=1e-5)
  learned = _switched(_from_image_model(0.01), IDS, [ON, ON])
  assert (learned != _switched(_from_image_model(), IDS, [ON, ON])).any()


def test_time_is_switched_for_each_sample():
  params = _params(FACTORIZED)
  on, off = (_switched(params, IDS, [each, each]) for each in (ON, OFF))
  assert (np.abs(on - off).max((1, 2, 3, 4)) > 1e-3).all()
  mixed = _switched(params, IDS, [ON, OFF])
  np.testing.assert_array_equal(mixed, np.stack([on[0], off[1]]))
  with pytest.raises(ValueError, match="attention is 'factorized'"):
    _switched(_params(CONFIG), IDS, [ON, ON], config=CONFIG)
