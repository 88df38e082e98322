"""Every kernel of attention equals the plain one."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax import rng, sharding
from phenaki_jax.errors import UserError
from phenaki_jax.nn import kernels
from phenaki_jax.nn.attention import SelfAttention, dot_product_attention
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
