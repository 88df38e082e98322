"""Each layer against numpy; its initial values, dtypes and names."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict

from phenaki_jax import rng, sharding
from phenaki_jax.nn.layers import (
  MLP,
  Dense,
  Kernel,
  RMSNorm,
  fan_in_normal,
  multiply,
)

X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 8)), jnp.float32)

LAYERS = {
  'kernel': (Kernel((8, 2, 4), ('embed', 'heads', 'kv')), ()),
  'dense': (Dense(6, ('embed', 'mlp'), use_bias=True), (X,)),
  'norm': (RMSNorm(), (X,)),
  'mlp': (MLP(16), (X,)),
}


def _init(layer, *inputs):
  boxed = layer.init(rng.root(1), *inputs)['params']
  return sharding.unbox(boxed)


def _random(params, seed=0):
  generator = np.random.default_rng(seed)
  return jax.tree.map(
    lambda leaf: jnp.asarray(generator.normal(size=leaf.shape), jnp.float32),
    params,
  )


@pytest.mark.parametrize('name', LAYERS)
def test_every_parameter_names_its_axes(name):
  layer, inputs = LAYERS[name]
  boxed = layer.init(rng.root(0), *inputs)['params']
  names = flatten_dict(sharding.map_parameters(lambda p: p.names, boxed))
  shapes = {
    path: leaf.shape
    for path, leaf in jax.tree_util.tree_leaves_with_path(sharding.unbox(boxed))
  }
  assert len(names) == len(shapes) > 0
  for entry in names.values():
    sharding.resolve(entry)


@pytest.mark.parametrize('name', ['kernel', 'dense', 'mlp'])
def test_bfloat16_computes_and_float32_stays_the_parameter(name):
  layer, inputs = LAYERS[name]
  params = _init(layer, *inputs)
  assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {
    jnp.dtype('float32')
  }
  out = layer.clone(dtype=jnp.bfloat16).apply({'params': params}, *inputs)
  assert out.dtype == jnp.bfloat16


def test_the_initialiser_has_unit_gain_and_is_cut():
  kernel = fan_in_normal(2)(rng.root(0), (16, 8, 200))
  assert float(jnp.std(kernel)) == pytest.approx((16 * 8) ** -0.5, rel=0.02)
  widest = 2 / 0.8796 * (16 * 8) ** -0.5
  assert float(jnp.abs(kernel).max()) <= widest * 1.001


@pytest.mark.parametrize(
  ('dims', 'shape', 'equation'),
  [
    (1, (8, 4, 5), 'bni,ijk->bnjk'),
    (2, (3, 8, 5), 'bni,nij->bj'),
    (3, (2, 3, 8, 5), 'bni,bnij->j'),
  ],
)
def test_products_equal_einsum(dims, shape, equation):
  kernel = np.float32(np.random.default_rng(2).normal(size=shape))
  np.testing.assert_allclose(
    multiply(X, jnp.asarray(kernel), dims=dims),
    np.einsum(equation, X, kernel),
    atol=1e-4,
  )


def test_dense_equals_numpy():
  layer, inputs = LAYERS['dense']
  params = _random(_init(layer, *inputs))
  np.testing.assert_allclose(
    layer.apply({'params': params}, X),
    np.asarray(X) @ np.asarray(params['kernel']) + np.asarray(params['bias']),
    atol=1e-5,
  )


def test_dense_can_start_at_zero():
  layer = Dense(6, ('embed', 'mlp'), kernel_init=nn.initializers.zeros)
  params = _init(layer, X)
  assert not layer.apply({'params': params}, X).any()
  grads = jax.grad(lambda p: layer.apply({'params': p}, X).sum())(params)
  assert jnp.abs(grads['kernel']).max() > 0


def test_norm_equals_numpy():
  params = _random(_init(RMSNorm(), X))
  x = np.asarray(X, np.float64)
  expected = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)
  np.testing.assert_allclose(
    RMSNorm().apply({'params': params}, X),
    expected * np.asarray(params['scale']),
    atol=1e-5,
  )


def test_norm_keeps_its_statistics_in_float32():
  # A bfloat16 sum of ones cannot exceed 256.
  x = jnp.ones((1, 512), jnp.bfloat16)
  out = RMSNorm().apply({'params': {'scale': jnp.ones(512)}}, x)
  assert out.dtype == jnp.bfloat16
  np.testing.assert_array_equal(out, 1)


def test_mlp_starts_at_zero_and_equals_numpy():
  layer, _ = LAYERS['mlp']
  params = _init(layer, X)
  assert not layer.apply({'params': params}, X).any()
  params = _random(params)
  hidden = jax.nn.gelu(X @ params['wi']['kernel'])
  np.testing.assert_allclose(
    layer.apply({'params': params}, X),
    hidden @ params['wo']['kernel'],
    atol=1e-4,
  )
