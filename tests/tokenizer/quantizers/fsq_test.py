"""FSQ compared with a search over every code, round trips and gradients."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax import rng, sharding
from phenaki_jax.tokenizer.quantizers import FSQ

LEVELS = (5, 4, 2)
SIZE = 40


def _make(levels=LEVELS, features=6, seed=0):
  layer = FSQ(levels, features)
  boxed = jax.eval_shape(layer.init, rng.root(0), jnp.zeros((1, features)))
  generator = np.random.default_rng(seed)
  params = jax.tree.map(
    lambda leaf: jnp.asarray(generator.normal(size=leaf.shape), jnp.float32),
    sharding.unbox(boxed['params']),
  )
  return layer, {'params': params}


def _vectors(*shape, seed=1):
  values = np.random.default_rng(seed).normal(size=shape)
  return jnp.asarray(values, jnp.float32)


def test_ids_equal_a_search_over_every_code():
  layer, variables = _make()
  z = _vectors(200, 6)
  out = layer.apply(variables, z)
  params = jax.tree.map(np.asarray, variables['params'])
  low = np.asarray(z) @ params['down']['kernel'] + params['down']['bias']
  # Id = d0 + d1 * L0 + d2 * L0 * L1: the first digit varies fastest.
  codes = np.array(
    [code[::-1] for code in itertools.product(*map(range, LEVELS[::-1]))]
  )
  top = np.array(LEVELS) - 1
  bounded = (1.05 * np.tanh(low) + 1) / 2 * top
  ids = ((bounded[:, None] - codes[None]) ** 2).sum(-1).argmin(-1)
  np.testing.assert_array_equal(out.ids, ids)
  assert len(np.unique(ids)) > SIZE // 2, 'the inputs must reach most codes'
  signed = codes[ids] / top * 2 - 1
  expected = signed @ params['up']['kernel'] + params['up']['bias']
  np.testing.assert_allclose(out.vectors, expected, atol=1e-4)
  assert not out.loss.any()
  assert out.loss.shape == out.ids.shape


def test_lookup_returns_the_vectors_of_the_call():
  layer, variables = _make()
  out = layer.apply(variables, _vectors(3, 4, 5, 6))
  again = layer.apply(variables, out.ids, method='lookup')
  assert out.vectors.shape == (3, 4, 5, 6)
  np.testing.assert_allclose(again, out.vectors, atol=1e-6)


@pytest.mark.parametrize('levels', [LEVELS, (8, 8, 5, 5), (7, 5, 5, 5, 5)])
def test_every_id_is_reached(levels):
  """Invert `down` to compute an input for each code."""
  layer, variables = _make(levels, features=len(levels))
  params = jax.tree.map(np.asarray, variables['params'])
  size = int(np.prod(levels))
  ids = np.arange(size)
  digits = np.stack(np.unravel_index(ids, levels, order='F'), -1)
  signed = digits / (np.array(levels) - 1) * 2 - 1
  low = np.arctanh(np.clip(signed / 1.05, -0.99, 0.99))
  z = (low - params['down']['bias']) @ np.linalg.inv(params['down']['kernel'])
  found = layer.apply(variables, jnp.asarray(z, jnp.float32)).ids
  np.testing.assert_array_equal(found, ids)


def test_gradients_ignore_the_rounding():
  layer, variables = _make()
  z = 0.1 * _vectors(7, 6)
  params = variables['params']
  weight = _vectors(7, 6, seed=2)

  def through(z):
    return jnp.sum(weight * layer.apply(variables, z).vectors)

  def smooth(z):
    low = z @ params['down']['kernel'] + params['down']['bias'][None]
    return jnp.sum(weight * (1.05 * jnp.tanh(low) @ params['up']['kernel']))

  np.testing.assert_allclose(
    jax.grad(through)(z), jax.grad(smooth)(z), atol=1e-4
  )
  assert jax.grad(through)(z).any()
