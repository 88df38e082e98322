"""C-ViViT: exact causality, consistency of encode and decode, shapes.

The parameters are random because residual branches that start at zero would
hide an error in an attention mask.
"""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax import rng, sharding
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.tokenizer.cvivit import CViViT

FSQ = TokenizerConfig(
  patch=(4, 4),
  width=16,
  num_heads=2,
  mlp_dim=32,
  spatial_layers=1,
  temporal_layers=2,
  fsq_levels=(8, 5, 5),
)
VQ = dataclasses.replace(FSQ, quantizer='vq', vq_codes=64, vq_dim=4)
LFQ = dataclasses.replace(FSQ, quantizer='lfq', lfq_bits=9)
REPEATED = dataclasses.replace(FSQ, first_frame='repeated')
PER_FRAME = FSQ.per_frame()
CONFIGS = {'fsq': FSQ, 'vq': VQ, 'repeated': REPEATED}
OTHERS = {'lfq': LFQ, 'per_frame': PER_FRAME}
# Name in CONFIGS, frames, frame size in pixels, batch; square and other grids.
CASES = [
  ('fsq', 5, (8, 8), 2),
  ('fsq', 7, (4, 12), 1),
  ('vq', 5, (8, 8), 2),
  ('vq', 3, (12, 8), 3),
  ('repeated', 7, (8, 4), 2),
]

every = pytest.mark.parametrize('name', CONFIGS)


@functools.cache
def _boxed(name):
  pixels = jnp.zeros((1, 3, 8, 8, 3))
  model = CViViT((CONFIGS | OTHERS)[name])
  return jax.eval_shape(model.init, rng.root(0), pixels)['params']


@functools.cache
def _variables(name):
  generator = np.random.default_rng(2)
  params = jax.tree.map(
    lambda leaf: jnp.asarray(
      generator.normal(size=leaf.shape) / leaf.shape[0] ** 0.5, jnp.float32
    ),
    sharding.unbox(_boxed(name)),
  )
  return {'params': params}


@functools.partial(jax.jit, static_argnums=(0, 1))
def _compiled(name, method, variables, x):
  return CViViT((CONFIGS | OTHERS)[name]).apply(variables, x, method=method)


def _run(name, method, x):
  output = _compiled(name, method, _variables(name), x)
  return jax.tree.map(np.asarray, output)


def _clip(frames, size, batch, seed=0):
  shape = (batch, frames, *size, 3)
  values = np.random.default_rng(seed).uniform(-1, 1, size=shape)
  return values.astype(np.float32)


def _latent_frames(frames):
  return 1 + (frames - 1) // 2


@pytest.mark.parametrize(('name', 'frames', 'size', 'batch'), CASES)
def test_changing_later_frames_leaves_earlier_output_identical(
  name, frames, size, batch
):
  clip = _clip(frames, size, batch)
  ids = _run(name, 'encode', clip)
  out = _run(name, 'decode', ids)
  assert ids.shape == (
    batch,
    _latent_frames(frames),
    size[0] // 4,
    size[1] // 4,
  )
  assert out.shape == clip.shape
  assert len(np.unique(ids)) > 3, 'the tokens must differ'
  for kept in range(1, frames, 2):
    other = _clip(frames, size, batch, seed=1)
    other[:, :kept] = clip[:, :kept]
    other_ids = _run(name, 'encode', other)
    latent = _latent_frames(kept)
    np.testing.assert_array_equal(other_ids[:, :latent], ids[:, :latent])
    assert (other_ids[:, latent:] != ids[:, latent:]).any()
    other_out = _run(name, 'decode', other_ids)
    np.testing.assert_array_equal(other_out[:, :kept], out[:, :kept])
    assert (other_out[:, kept:] != out[:, kept:]).any()


# VQ differs after the encoder only.
@pytest.mark.parametrize('name', ['fsq', 'repeated'])
def test_gradients_are_causal(name):
  """Which frames each latent frame depends on, by its gradient."""
  frames, size = 5, (8, 4)
  clip = _clip(frames, size, 1)
  model, variables = CViViT((CONFIGS | OTHERS)[name]), _variables(name)

  def vectors(clip):
    return model.apply(
      variables, clip, method=lambda m, x: m._quantize(x).vectors
    )

  weight = jnp.asarray(np.random.default_rng(3).normal(size=(1, 1, 2, 1, 16)))
  rows = jax.jit(
    lambda clip: jax.vmap(
      lambda index: jax.grad(
        lambda clip: jnp.sum(
          jnp.where(
            (jnp.arange(3) == index)[None, :, None, None, None],
            vectors(clip) * weight.astype(jnp.float32),
            0.0,
          )
        )
      )(clip)
    )(jnp.arange(3))
  )(clip)
  moved = np.abs(rows).max((1, 3, 4, 5)) > 0
  # Latent frame 0 is the first frame; each later one covers two frames.
  expected = [[1, 0, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
  np.testing.assert_array_equal(moved, expected)


@pytest.mark.parametrize(('name', 'frames', 'size', 'batch'), CASES[1:])
def test_image_has_the_tokens_of_the_same_first_frame(
  name, frames, size, batch
):
  clip = _clip(frames, size, batch)
  ids = _run(name, 'encode', clip)
  image = _run(name, 'encode', clip[:, :1])
  np.testing.assert_array_equal(image[:, 0], ids[:, 0])
  np.testing.assert_allclose(
    _run(name, 'decode', image)[:, 0],
    _run(name, 'decode', ids)[:, 0],
    atol=1e-5,
  )


def test_first_frames_alone_have_the_same_tokens():
  clip = _clip(7, (4, 12), 1)
  ids = _run('fsq', 'encode', clip)
  np.testing.assert_array_equal(_run('fsq', 'encode', clip[:, :3]), ids[:, :2])


def test_tokens_do_not_depend_on_the_batch():
  clip = _clip(5, (8, 8), 2)
  ids = _run('fsq', 'encode', clip)
  for i in (0, 1):
    alone = _run('fsq', 'encode', clip[i : i + 1])
    np.testing.assert_array_equal(alone, ids[i : i + 1])


@every
def test_call_equals_encode_then_decode(name):
  clip = _clip(5, (8, 8), 2)
  output = _run(name, '__call__', clip)
  ids = _run(name, 'encode', clip)
  np.testing.assert_array_equal(output.ids, ids)
  np.testing.assert_allclose(
    output.reconstruction, _run(name, 'decode', ids), atol=1e-4
  )
  assert output.quantizer_loss.shape == ids.shape
  assert bool(output.quantizer_loss.any()) == (name == 'vq')


@every
def test_decoder_mixes_space_and_time(name):
  """One token of the first frame changes distant pixels and later frames."""
  clip = _clip(5, (8, 8), 1)
  out = _run(name, 'decode', _run(name, 'encode', clip))
  ids = _run(name, 'encode', clip).copy()
  ids[0, 0, 0, 0] = (ids[0, 0, 0, 0] + 7) % 64
  moved = np.abs(np.asarray(_run(name, 'decode', ids) - out))
  assert moved[0, 0, 4:, 4:].max() > 1e-6
  assert moved[0, 4, 4:, 4:].max() > 1e-6


def test_repeated_first_frame_gives_still_clips_the_tokens_of_an_image():
  # Patches of one colour get more distinct tokens than noise.
  image = np.kron(_clip(1, (3, 3), 2), np.ones((4, 4, 1), np.float32))
  still = np.repeat(image, 7, axis=1)
  expected = np.repeat(_run('repeated', 'encode', image), 4, axis=1)
  assert len(np.unique(expected)) > 3, 'the tokens must differ'
  np.testing.assert_array_equal(_run('repeated', 'encode', still), expected)
  assert (_run('fsq', 'encode', still) != expected).any()


@pytest.mark.parametrize('name', ['fsq', 'repeated'])
@pytest.mark.parametrize('scan', [False, True])
def test_initialising_with_an_image_creates_every_parameter(scan, name):
  config = dataclasses.replace(CONFIGS[name], scan=scan)

  def shapes(frames):
    pixels = jnp.zeros((1, frames, 4, 4, 3))
    boxed = jax.eval_shape(CViViT(config).init, rng.root(0), pixels)
    return jax.tree.map(jnp.shape, sharding.unbox(boxed))

  assert shapes(1) == shapes(3)


def test_lfq_tokens_decode_to_the_output():
  clip = _clip(5, (8, 8), 2)
  ids = _run('lfq', 'encode', clip)
  output = _run('lfq', '__call__', clip)
  np.testing.assert_array_equal(output.ids, ids)
  assert len(np.unique(ids)) > 3, 'the tokens must differ'
  np.testing.assert_allclose(
    _run('lfq', 'decode', ids), output.reconstruction, atol=1e-5
  )


def test_per_frame_tokens_depend_on_their_frame_alone():
  clip = _clip(5, (8, 8), 1)
  ids = _run('per_frame', 'encode', clip)
  assert ids.shape == (1, 5, 2, 2)
  order = np.array([3, 0, 4, 1, 2])
  np.testing.assert_array_equal(
    _run('per_frame', 'encode', clip[:, order]), ids[:, order]
  )
  np.testing.assert_array_equal(
    _run('per_frame', 'decode', ids[:, order]),
    _run('per_frame', 'decode', ids)[:, order],
  )


def test_encode_rejects_invalid_frame_counts():
  with pytest.raises(ValueError, match='use 3 or 5 frames'):
    _run('fsq', 'encode', _clip(4, (8, 8), 1))


def test_bfloat16_model_returns_float32():
  config = dataclasses.replace(FSQ, dtype='bfloat16')
  output = jax.eval_shape(
    CViViT(config).apply,
    _variables('fsq'),
    _clip(3, (8, 8), 1),
  )
  assert output.reconstruction.dtype == jnp.float32
  assert output.quantizer_loss.dtype == jnp.float32


def test_bfloat16_blocks_compute_in_bfloat16():
  config = dataclasses.replace(FSQ, dtype='bfloat16')
  inputs = []

  def watch(call, args, options, context):
    if context.module.name == 'attention_norm':
      inputs.append(args[0].dtype)
    return call(*args, **options)

  with nn.intercept_methods(watch):
    jax.eval_shape(CViViT(config).apply, _variables('fsq'), _clip(3, (8, 8), 1))
  assert len(inputs) > 1 and set(inputs) == {jnp.dtype('bfloat16')}
