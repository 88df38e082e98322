"""Chunks have the tokens and frames of the whole clip, in constant memory."""

import dataclasses
import functools
import gc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax import rng, sharding
from phenaki_jax.errors import UserError
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.tokenizer.cvivit import CViViT
from phenaki_jax.tokenizer.streaming import decode_chunks, encode_chunks

WINDOW = TokenizerConfig(
  patch=(4, 4),
  width=16,
  num_heads=2,
  mlp_dim=32,
  spatial_layers=1,
  temporal_layers=2,
  fsq_levels=(8, 5, 5),
  temporal_window=3,
)
CONFIGS = {
  'window': WINDOW,
  'all': dataclasses.replace(
    WINDOW, temporal_window=None, first_frame='repeated', scan=True
  ),
}


@functools.cache
def _params(name):
  shapes = jax.eval_shape(
    CViViT(CONFIGS[name]).init, rng.root(0), np.zeros((1, 3, 4, 4, 3))
  )
  generator = np.random.default_rng(0)
  return jax.tree.map(
    lambda leaf: np.float32(
      generator.normal(size=leaf.shape) / leaf.shape[-2:][0] ** 0.5
    ),
    sharding.unbox(shapes['params']),
  )


def _clip(frames, seed=0):
  values = np.random.default_rng(seed).uniform(-1, 1, (2, frames, 4, 8, 3))
  return jnp.asarray(values, jnp.float32)


def _split(x, lengths):
  return jnp.split(x, np.cumsum(lengths)[:-1], axis=1)


@pytest.mark.parametrize('name', CONFIGS)
def test_chunks_equal_the_whole_clip(name):
  config, params, clip = CONFIGS[name], _params(name), _clip(19)
  model = CViViT(config)
  whole = jax.jit(functools.partial(model.apply, method='encode'))(
    {'params': params}, clip
  )
  longest = 10 if name == 'all' else None
  chunks = _split(clip, [3, 8, 8])
  ids = list(encode_chunks(config, params, chunks, longest=longest))
  assert [part.shape[1] for part in ids] == [2, 4, 4]
  np.testing.assert_array_equal(np.concatenate(ids, 1), whole)
  assert len(np.unique(whole)) > 5

  frames = jax.jit(functools.partial(model.apply, method='decode'))(
    {'params': params}, whole
  )
  parts = _split(whole, [2, 4, 4])
  pixels = list(decode_chunks(config, params, parts, longest=longest))
  assert [part.shape[1] for part in pixels] == [3, 8, 8]
  np.testing.assert_allclose(np.concatenate(pixels, 1), frames, atol=2e-5)


def test_the_window_limits_how_far_a_latent_frame_looks_back():
  config, params = WINDOW, _params('window')
  clip = _clip(19)
  other = clip.at[:, 0].multiply(-1.0)
  encode = jax.jit(functools.partial(CViViT(config).apply, method='encode'))
  ids, changed = (encode({'params': params}, x) for x in (clip, other))
  # Two layers reach back two latent frames each.
  moved = (np.asarray(ids) != np.asarray(changed)).any((0, 2, 3))
  assert moved[0]
  assert not moved[5:].any()


def _peak(frames):
  """Return the largest number of bytes that live arrays have between chunks."""
  config, params = WINDOW, jax.device_put(_params('window'))
  gc.collect()  # Arrays of other tests, which would be freed in between.
  before = sum(array.nbytes for array in jax.live_arrays())

  def pixels():
    yield _clip(3)
    for seed in range(1, (frames - 3) // 8 + 1):
      yield _clip(8, seed)

  peak = count = 0
  for part in decode_chunks(
    config, params, encode_chunks(config, params, pixels())
  ):
    count += part.shape[1]
    peak = max(peak, sum(array.nbytes for array in jax.live_arrays()) - before)
  assert count == frames
  return peak


def test_memory_is_constant():
  assert _peak(11) == _peak(1003) > 0


def test_a_chunk_of_a_part_of_a_tubelet_raises():
  chunks = [_clip(3), _clip(3)]
  with pytest.raises(UserError, match='3 frames; give the first chunk 1'):
    list(encode_chunks(WINDOW, _params('window'), chunks))


def test_without_a_window_the_longest_clip_is_needed():
  config, params = CONFIGS['all'], _params('all')
  with pytest.raises(UserError, match='latent frames of the longest clip'):
    list(encode_chunks(config, params, [_clip(3)]))
  with pytest.raises(UserError, match='more than 1 latent frames'):
    list(encode_chunks(config, params, [_clip(3)], longest=1))
