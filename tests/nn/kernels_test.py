"""Every kernel of attention equals the plain one."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax import rng, sharding
from phenaki_jax.errors import UserError
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.masked_transformer.model import MaskedTransformer
from phenaki_jax.nn import kernels
from phenaki_jax.nn.attention import (
  Packing,
  SelfAttention,
  dot_product_attention,
)
from phenaki_jax.nn.config import TransformerConfig

CONFIG = TransformerConfig(width=16, num_heads=2)


def _inputs(length=256, heads=1, dim=11, width=8, batch=2):
  bits = np.random.default_rng(0)
  shapes = [(dim,), (dim,), (width,)]
  return [
    jnp.asarray(bits.normal(size=(batch, length, heads, *s)), jnp.float32)
    for s in shapes
  ]


def _plain(query, key, value, segments):
  mask = segments[:, :, None] == segments[:, None]
  return dot_product_attention(query, key, value, mask, scale=0.3)


def _segments(length=256, batch=2):
  return jnp.asarray(np.arange(length) * 4 // length, jnp.int32)[None].repeat(
    batch, 0
  )


def test_splash_equals_plain_attention_with_its_gradients():
  """The kernel is interpreted here; other tests compile it for a TPU."""
  inputs, segments = _inputs(), _segments()

  def total(attend):
    def f(*inputs):
      out = attend(*inputs)
      return jnp.sum(jnp.sin(out)), out

    return jax.jit(jax.grad(f, (0, 1, 2), has_aux=True))

  fused = total(lambda *x: kernels.splash(*x, segments, scale=0.3))(*inputs)
  plain = total(lambda *x: _plain(*x, segments))(*inputs)
  for found, expected in zip(
    jax.tree.leaves(fused), jax.tree.leaves(plain), strict=True
  ):
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_splash_is_split_over_a_mesh():
  inputs, segments = _inputs(length=128, heads=2), _segments(length=128)
  expected = _plain(*inputs, segments)
  config = sharding.MeshConfig(data=2, tensor=2)
  mesh = sharding.make_mesh(config, devices=jax.devices()[:4])
  with jax.set_mesh(mesh):
    attend = jax.jit(lambda *x: kernels.splash(*x, segments, scale=0.3))
    found = attend(*inputs)
  np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize('dim', [8, 11])
def test_what_cudnn_is_given_equals_plain_attention(dim):
  """cuDNN itself needs a GPU; XLA takes its place behind the same function."""
  inputs, segments = _inputs(length=12, dim=dim), _segments(length=12)
  found = kernels.cudnn(*inputs, segments, scale=0.3, implementation='xla')
  np.testing.assert_allclose(found, _plain(*inputs, segments), atol=1e-5)


def test_a_layer_uses_the_configured_kernel(monkeypatch):
  """The layer hands segments of tokens and the scale of its heads on."""
  x = jnp.ones((1, 128, 16))
  segments = jnp.asarray([[0, 1]])
  layer = SelfAttention(CONFIG)
  params = layer.init(rng.root(0), x)
  seen = {}

  def splash(query, key, value, segments, *, scale):
    seen.update(segments=segments, scale=scale)
    return value

  monkeypatch.setattr(kernels, 'splash', splash)
  config = dataclasses.replace(CONFIG, attention_kernel='splash')
  SelfAttention(config).apply(params, x, segments=segments)
  assert seen['scale'] == 8**-0.5
  np.testing.assert_array_equal(seen['segments'][0], [0] * 64 + [1] * 64)


def test_auto_is_the_plain_one_on_a_cpu():
  query = _inputs(length=1024, batch=1)[0]
  assert kernels.choose('auto', query, is_plain=True) == 'xla'
  assert kernels.choose('splash', query, is_plain=True) == 'splash'


@pytest.mark.parametrize(
  ('kernel', 'length', 'is_plain'),
  [('splash', 100, True), ('splash', 128, False), ('cudnn', 128, True)],
)
def test_a_kernel_that_cannot_is_refused(kernel, length, is_plain):
  query = _inputs(length=length, batch=1)[0]
  with pytest.raises(UserError, match=f'attention_kernel is {kernel!r}, but'):
    kernels.choose(kernel, query, is_plain=is_plain)


def test_what_cudnn_is_given_equals_attention_to_the_first_keys():
  query, key, value = _inputs(length=12)
  key, value = key[:, :6], value[:, :6]
  lengths = jnp.asarray([6, 2], jnp.int32)
  found = kernels.cudnn(
    *(query, key, value), scale=0.3, lengths=lengths, implementation='xla'
  )
  mask = jnp.asarray(np.arange(6) < np.array([[6], [2]]))[:, None]
  expected = dot_product_attention(query, key, value, mask, scale=0.3)
  np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize('packed', [0, 1])
def test_a_model_computed_by_cudnn_equals_the_plain_one(monkeypatch, packed):
  """Rows of clips, the second with padding, and a row of packed images."""
  config = GeneratorConfig(
    **{'width': 16, 'num_heads': 2, 'mlp_dim': 16, 'num_layers': 1},
    **{'grid': (3, 2, 2), 'codebook_size': 8, 'text_width': 4},
    dtype='bfloat16',
  )
  bits = np.random.default_rng(0)
  segments = [[0, 0, 0], [0, 0, -1]] + [[0, 1, 2]] * packed
  texts = 2 + 3 * packed
  lengths = np.arange(texts) % 3 + 1
  inputs = {
    'ids': jnp.asarray(bits.integers(0, 9, (2 + packed, 3, 2, 2)), jnp.int32),
    'text': jnp.asarray(bits.normal(size=(texts, 3, 4)), jnp.float32),
    'text_mask': jnp.asarray(np.arange(3) < lengths[:, None]),
    'segments': jnp.asarray(segments, jnp.int32),
    'packing': Packing(packed=packed),
  }
  shapes = jax.eval_shape(MaskedTransformer(config).init, rng.root(0), **inputs)
  params = jax.tree.map(
    lambda x: jnp.asarray(bits.normal(size=x.shape), jnp.float32),
    sharding.unbox(shapes),
  )
  expected = jax.jit(MaskedTransformer(config).apply)(params, **inputs)
  given = []
  fused = kernels.cudnn

  def by_xla(*arrays, **options):
    given.append(options.get('lengths'))
    return fused(*arrays, **options, implementation='xla')

  monkeypatch.setattr(kernels, 'cudnn', by_xla)
  config = dataclasses.replace(config, attention_kernel='cudnn')
  found = MaskedTransformer(config).apply(params, **inputs)
  real = inputs['segments'] >= 0
  missed = np.linalg.norm(found[real] - expected[real])
  assert missed < 0.02 * np.linalg.norm(expected[real])
  assert np.isfinite(found).all()
  # Self-attention gets the lengths of clips, cross-attention those of texts.
  of_rows = [None] if packed else [[12, 8]]
  of_texts = [lengths[:2].tolist(), lengths[2:].tolist()][: 1 + packed]
  seen = [x if x is None else x.tolist() for x in given]
  assert seen == of_rows + of_texts


def test_a_text_is_not_read_by_splash_attention():
  query = _inputs(length=128, batch=1)[0]
  found = kernels.choose('splash', query, is_plain=True, is_cross=True)
  assert found == 'xla'
