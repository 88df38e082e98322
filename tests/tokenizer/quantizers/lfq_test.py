"""LFQ compared with searches and softmaxes over every code."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax import rng, sharding
from phenaki_jax.tokenizer.quantizers import LFQ
from phenaki_jax.tokenizer.quantizers.lfq import code_entropies

BITS = 5


@functools.cache
def _make(entropy=0.1):
  layer = LFQ(BITS, 6, entropy=entropy)
  boxed = jax.eval_shape(layer.init, rng.root(0), jnp.zeros((1, 6)))
  generator = np.random.default_rng(0)
  params = jax.tree.map(
    lambda leaf: jnp.asarray(generator.normal(size=leaf.shape), jnp.float32),
    sharding.unbox(boxed['params']),
  )
  return layer, {'params': params}


def _vectors(*shape, seed=1):
  values = np.random.default_rng(seed).normal(size=shape)
  return jnp.asarray(values, jnp.float32)


def _codes(bits):
  """Return every code as signs, [2**bits, bits], the first bit lowest."""
  return 2.0 * (np.arange(2**bits)[:, None] >> np.arange(bits) & 1) - 1.0


def _low(variables, z):
  down = variables['params']['down']
  return np.asarray(z) @ np.asarray(down['kernel']) + np.asarray(down['bias'])


def _naive_entropies(z, weights):
  """Compute both entropies from the probabilities of every code."""
  distance = ((z[:, None] - _codes(z.shape[-1])) ** 2).sum(-1)
  share = np.exp(-distance + distance.min(-1, keepdims=True))
  share /= share.sum(-1, keepdims=True)
  mean = (share * weights[:, None]).sum(0) / weights.sum()
  return -(share * np.log(share)).sum(-1), -(mean * np.log(mean)).sum()


def test_ids_and_loss_equal_a_search_over_every_code():
  layer, variables = _make()
  z = _vectors(5, 40, 6)
  out = jax.jit(layer.apply)(variables, z)
  low = _low(variables, z).reshape(-1, BITS)
  codes = _codes(BITS)
  distance = ((low[:, None] - codes) ** 2).sum(-1)
  ids = distance.argmin(-1)
  np.testing.assert_array_equal(out.ids.reshape(-1), ids)
  assert len(np.unique(ids)) > 20, 'the inputs must reach many codes'
  own, common = _naive_entropies(low, np.ones(len(low)))
  expected = 0.25 * distance.min(-1) / BITS + 0.1 * (own - common) / BITS
  np.testing.assert_allclose(out.loss.reshape(-1), expected, atol=1e-4)
  again = layer.apply(variables, out.ids, method='lookup')
  np.testing.assert_allclose(again, out.vectors, atol=1e-5)


@pytest.mark.parametrize('bits', [1, 7])
def test_entropies_equal_a_softmax_over_every_code(bits):
  # More vectors than one chunk, and a part of another.
  z = 0.4 * np.asarray(_vectors(4100, bits))
  weights = np.random.default_rng(2).uniform(size=4100)
  weights[4000:] = 0
  found = jax.jit(code_entropies)(
    jnp.asarray(z), jnp.asarray(weights, jnp.float32)
  )
  own, common = _naive_entropies(z, weights)
  np.testing.assert_allclose(found.own, own, atol=1e-4)
  assert float(found.common) == pytest.approx(common, rel=1e-4)


def test_gradients_of_entropies_equal_a_softmax_over_every_code():
  z = 0.3 * _vectors(9, 4)

  def ours(z):
    found = code_entropies(z, jnp.ones(9))
    return found.own.sum() - 3.0 * found.common

  def naive(z):
    distance = ((z[:, None] - _codes(4)[None]) ** 2).sum(-1)
    share = jax.nn.softmax(-distance)
    mean = share.mean(0)
    own = -(share * jnp.log(share)).sum()
    return own + 3.0 * (mean * jnp.log(mean)).sum()

  slopes, expected = (jax.jit(jax.grad(f))(z) for f in (ours, naive))
  np.testing.assert_allclose(slopes, expected, atol=1e-4)


def test_the_largest_codebook_is_not_materialised():
  z = jax.ShapeDtypeStruct((4096, 18), jnp.float32)
  weights = jax.ShapeDtypeStruct((4096,), jnp.float32)

  def loss(z, weights):
    found = code_entropies(z, weights)
    return found.own.sum() - found.common

  compiled = jax.jit(jax.grad(loss)).lower(z, weights).compile()
  # The probabilities of all codes of these vectors take 4 GiB.
  assert compiled.memory_analysis().temp_size_in_bytes < 2**27


def test_padding_changes_no_entropy():
  layer, variables = _make()
  z = _vectors(8, 6)
  weights = jnp.asarray([1.0] * 5 + [0.0] * 3)
  run = jax.jit(layer.apply)
  whole = run(variables, z, weights).loss[:5]
  alone = run(variables, z[:5]).loss
  np.testing.assert_allclose(whole, alone, atol=1e-6)
  unweighted = run(variables, z, jnp.ones(8)).loss[:5]
  assert np.abs(unweighted - alone).max() > 1e-4


def test_gradients_pass_straight_through():
  layer, variables = _make(entropy=0.0)
  z, weight = _vectors(7, 6), _vectors(7, 6, seed=2)
  params = variables['params']

  def through(z):
    return jnp.sum(weight * layer.apply(variables, z).vectors)

  def identity(z):
    low = z @ params['down']['kernel']
    return jnp.sum(weight * (low @ params['up']['kernel']))

  np.testing.assert_allclose(
    jax.grad(through)(z), jax.grad(identity)(z), atol=1e-4
  )
