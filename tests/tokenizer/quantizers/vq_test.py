"""VQ compared with a brute-force nearest neighbour; its loss and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from phenaki_jax import rng, sharding
from phenaki_jax.tokenizer.quantizers import VQ


def _make(codes=32, code_dim=4, features=6, commitment=0.25, seed=0):
  layer = VQ(codes, code_dim, features, commitment)
  boxed = jax.eval_shape(layer.init, rng.root(0), jnp.zeros((1, features)))
  generator = np.random.default_rng(seed)
  params = jax.tree.map(
    lambda leaf: jnp.asarray(generator.normal(size=leaf.shape), jnp.float32),
    sharding.unbox(boxed['params']),
  )
  return layer, params


def _vectors(*shape, seed=1):
  values = np.random.default_rng(seed).normal(size=shape)
  return jnp.asarray(values, jnp.float32)


def _unit(x):
  return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_ids_equal_a_brute_force_search():
  layer, params = _make()
  z = _vectors(5, 40, 6)
  out = layer.apply({'params': params}, z)
  params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
  low = _unit(np.asarray(z) @ params['down']['kernel'])
  codes = _unit(params['codebook'])
  distance = ((low[..., None, :] - codes) ** 2).sum(-1)
  ids = distance.argmin(-1)
  np.testing.assert_array_equal(out.ids, ids)
  assert len(np.unique(ids)) > 16, 'the inputs must reach many codes'
  np.testing.assert_allclose(
    out.vectors, codes[ids] @ params['up']['kernel'], atol=1e-4
  )
  # Codebook term plus 0.25 times the commitment term (Phenaki, appendix A.1).
  np.testing.assert_allclose(out.loss, 1.25 * distance.min(-1) / 4, atol=1e-4)


def test_lookup_returns_the_vectors_of_the_call():
  layer, params = _make()
  out = layer.apply({'params': params}, _vectors(2, 3, 4, 6))
  again = layer.apply({'params': params}, out.ids, method='lookup')
  np.testing.assert_allclose(again, out.vectors, atol=1e-5)


def test_ids_ignore_the_norm_of_vectors_and_codes():
  layer, params = _make()
  z = _vectors(50, 6)
  grown = params | {'codebook': params['codebook'] * 7.0}
  np.testing.assert_array_equal(
    layer.apply({'params': params}, z).ids,
    layer.apply({'params': grown}, z * 3.0).ids,
  )


def test_gradients_pass_straight_through():
  layer, params = _make()
  z, weight = _vectors(9, 6), _vectors(9, 6, seed=2)

  def through(z):
    return jnp.sum(weight * layer.apply({'params': params}, z).vectors)

  def identity(z):
    low = z @ params['down']['kernel']
    low = low / jnp.linalg.norm(low, axis=-1, keepdims=True)
    return jnp.sum(weight * (low @ params['up']['kernel']))

  np.testing.assert_allclose(
    jax.grad(through)(z), jax.grad(identity)(z), atol=1e-4
  )


def test_codebook_and_commitment_terms_have_separate_gradients():
  z = _vectors(9, 6)

  def grads(commitment):
    layer, params = _make(commitment=commitment)
    return jax.grad(
      lambda params: layer.apply({'params': params}, z).loss.sum()
    )(params)

  without = grads(0.0)
  assert without['codebook'].any()
  assert not without['down']['kernel'].any()
  half, whole = grads(0.5), grads(1.0)
  np.testing.assert_allclose(half['codebook'], without['codebook'], atol=1e-5)
  np.testing.assert_allclose(
    2 * half['down']['kernel'], whole['down']['kernel'], atol=1e-5
  )
  assert half['down']['kernel'].any()


def test_an_autoencoder_learns_and_its_codebook_does_not_collapse():
  """With terms summed over the dimensions, two codes are left of these."""
  generator = np.random.default_rng(0)

  def normal(*shape, scale=1.0):
    return np.float32(scale * generator.normal(size=shape))

  # Inputs of 16 kinds that have much in common, as patches of frames have.
  kinds = normal(16, 12, scale=0.3)[generator.integers(0, 16, 256)]
  inputs = 0.3 + kinds + normal(256, 12, scale=0.05)
  layer, quantizer = _make(64, 32, 64)
  params = {
    'quantizer': quantizer,
    'encoder': normal(12, 64, scale=12**-0.5),
    'decoder': normal(64, 12, scale=64**-0.5),
  }
  optimizer = optax.adam(3e-3)

  def loss(params):
    variables = {'params': params['quantizer']}
    out = layer.apply(variables, inputs @ params['encoder'])
    l2 = jnp.mean((out.vectors @ params['decoder'] - inputs) ** 2)
    return l2 + out.loss.mean(), (l2, out.ids)

  def step(carry, _):
    params, state = carry
    grads, measured = jax.grad(loss, has_aux=True)(params)
    updates, state = optimizer.update(grads, state)
    return (optax.apply_updates(params, updates), state), measured

  start = (params, optimizer.init(params))
  _, (l2, ids) = jax.jit(lambda c: jax.lax.scan(step, c, None, length=150))(
    start
  )
  assert l2[-1] < 0.25 * inputs.var()
  assert len(np.unique(ids[-1])) >= 10
