"""Attention against loops of numpy, and the effect of masks."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax import rng, sharding
from phenaki_jax.nn.attention import (
  CrossAttention,
  Packing,
  SelfAttention,
  dot_product_attention,
)
from phenaki_jax.nn.config import TransformerConfig
from phenaki_jax.nn.positions import (
  distance_features,
  grid_coordinates,
  rotary_angles,
  rotate,
)

CONFIG = TransformerConfig(width=16, num_heads=2)


def _normal(*shape, seed=0):
  values = np.random.default_rng(seed).normal(size=shape)
  return jnp.asarray(values, jnp.float32)


def _awake(boxed, seed=0):
  """Draw every parameter, as those that start at zero could hide errors."""
  generator = np.random.default_rng(seed)
  return jax.tree.map(
    lambda leaf: jnp.asarray(
      generator.normal(size=leaf.shape) / leaf.shape[0] ** 0.5, jnp.float32
    ),
    sharding.unbox(boxed),
  )


def _naive(query, key, value, mask=None):
  """Attend in float64, one batch entry, head and query at a time."""
  query, key, value = (np.asarray(x, np.float64) for x in (query, key, value))
  out = np.zeros((*query.shape[:-1], value.shape[-1]))
  for b, q, k in np.ndindex(query.shape[:3]):
    scores = key[b, :, k] @ query[b, q, k] / query.shape[-1] ** 0.5
    if mask is not None:
      scores = np.where(mask[b % len(mask), q % mask.shape[1]], scores, -np.inf)
    weights = np.exp(scores - scores.max())
    out[b, q, k] = weights / weights.sum() @ value[b, :, k]
  return out


@pytest.mark.parametrize('queries', [1, 5])
def test_attention_equals_loops(queries):
  query = _normal(2, queries, 3, 4)
  key, value = _normal(2, 6, 3, 4, seed=1), _normal(2, 6, 3, 4, seed=2)
  np.testing.assert_allclose(
    dot_product_attention(query, key, value),
    _naive(query, key, value),
    atol=1e-5,
  )


@pytest.mark.parametrize('rows', [1, 2])
@pytest.mark.parametrize('queries', [1, 5])
def test_masked_attention_equals_loops(rows, queries):
  generator = np.random.default_rng(3)
  mask = generator.random((rows, queries, 6)) < 0.5
  mask[..., 2] = True
  query = _normal(2, 5, 3, 4)
  key, value = _normal(2, 6, 3, 4, seed=1), _normal(2, 6, 3, 4, seed=2)
  np.testing.assert_allclose(
    dot_product_attention(query, key, value, jnp.asarray(mask)),
    _naive(query, key, value, mask),
    atol=1e-5,
  )


def test_dropout_is_of_the_normalised_weights():
  query, key, value = (_normal(2, 4, 3, 4, seed=seed) for seed in range(3))
  mask = np.random.default_rng(0).random((2, 3, 4, 4)) < 0.5
  found = dot_product_attention(
    query, key, value, drop=lambda weights: jnp.where(mask, 2 * weights, 0)
  )
  scores = jnp.einsum('bqkd,bmkd->bkqm', query, key) / 2
  weights = jnp.where(mask, 2 * jax.nn.softmax(scores), 0)
  expected = jnp.einsum('bkqm,bmkd->bqkd', weights, value)
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_scores_decrease_with_distance_along_each_axis():
  grid = grid_coordinates(2, 2, 3)
  distances = jnp.asarray(distance_features(grid))
  x = _normal(2, 12, 8)
  layer = SelfAttention(TransformerConfig(width=8, num_heads=2))
  params = _awake(layer.init(jax.random.key(0), x, distances=distances))[
    'params'
  ]
  slopes = np.array([[0.5, 1.0, 2.0], [0.0, 3.0, 0.25]])
  params['slopes'] = jnp.asarray(slopes, jnp.float32)
  query, key, value = np.einsum(
    'bnd,dcke->cbnke', x, params['qkv']['kernel']
  ).astype(np.float64)
  expected = np.zeros_like(query)
  for b, q, k in np.ndindex(query.shape[:3]):
    distance = np.abs(grid - grid[q])
    scores = key[b, :, k] @ query[b, q, k] / 2 - distance @ slopes[k]
    weights = np.exp(scores - scores.max())
    expected[b, q, k] = weights / weights.sum() @ value[b, :, k]
  np.testing.assert_allclose(
    layer.apply({'params': params}, x, distances=distances),
    np.einsum('bnke,ked->bnd', expected, params['out']['kernel']),
    atol=1e-4,
  )


def test_distances_are_exact_in_bfloat16():
  distances = jnp.asarray(distance_features(grid_coordinates(6, 8, 8)))
  x = _normal(1, 384, 16)
  layer = SelfAttention(CONFIG)
  params = _awake(layer.init(jax.random.key(0), x, distances=distances))
  coarse = SelfAttention(dataclasses.replace(CONFIG, dtype='bfloat16'))
  np.testing.assert_allclose(
    coarse.apply(params, x, distances=distances).astype(jnp.float32),
    layer.apply(params, x, distances=distances),
    # Two roundings of results up to 4.
    atol=2 * 4 * 2**-8,
    rtol=2 * 2**-8,
  )


def test_leading_dims_are_batch_dims():
  inputs = [_normal(4, 5, 2, 4, seed=i) for i in range(3)]
  flat = dot_product_attention(*inputs)
  deep = dot_product_attention(*(x.reshape(2, 2, 5, 2, 4) for x in inputs))
  np.testing.assert_allclose(deep.reshape(flat.shape), flat, atol=1e-6)


def test_hidden_keys_have_no_effect():
  query = _normal(1, 3, 2, 4)
  key, value = _normal(1, 6, 2, 4, seed=1), _normal(1, 6, 2, 4, seed=2)
  mask = jnp.asarray(np.tile([True] * 4 + [False] * 2, (1, 3, 1)))

  def attend(key, value):
    return dot_product_attention(query, key, value, mask)

  changed = attend(key.at[:, 4:].mul(-50.0), value.at[:, 4:].add(1e6))
  np.testing.assert_array_equal(changed, attend(key, value))
  for grad in jax.grad(lambda *x: attend(*x).sum(), (0, 1))(key, value):
    assert not grad[:, 4:].any()
    assert grad[:, :4].any()


def test_a_query_with_all_keys_hidden_averages_all_values():
  query, key = _normal(1, 2, 1, 4), _normal(1, 3, 1, 4, seed=1)
  value = _normal(1, 3, 1, 4, seed=2)
  mask = jnp.asarray([[[False] * 3, [True] * 3]])
  out = dot_product_attention(query, key, value, mask)
  np.testing.assert_allclose(out[0, 0], value[0].mean(0), atol=1e-6)


def test_scores_are_float32_in_bfloat16():
  # 512 and 513 are equal in bfloat16.
  query = jnp.full((1, 1, 1, 4), 16.0, jnp.bfloat16)
  key = jnp.asarray([[8.0] * 4, [8.0] * 3 + [8.0625]], jnp.bfloat16)
  value = jnp.asarray([[0.0] * 4, [1.0] * 4], jnp.bfloat16)
  out = dot_product_attention(query, key[None, :, None], value[None, :, None])
  assert out.dtype == jnp.bfloat16
  np.testing.assert_allclose(
    np.asarray(out, np.float32), 1 / (1 + np.exp(-0.5)), atol=0.01
  )


@pytest.mark.parametrize('rotary', [False, True])
def test_self_attention_equals_loops(rotary):
  x = _normal(2, 12, 16)
  layer = SelfAttention(CONFIG)
  angles = jnp.asarray(rotary_angles(grid_coordinates(2, 2, 3), 8))
  angles = angles if rotary else None
  params = _awake(jax.eval_shape(layer.init, rng.root(0), x)['params'])
  mask = np.tril(np.ones((12, 12), bool))[None]
  qkv = np.einsum('bnd,dckh->cbnkh', x, params['qkv']['kernel'])
  query, key, value = (jnp.asarray(part) for part in qkv)
  if rotary:
    query, key = rotate(query, angles), rotate(key, angles)
  expected = np.einsum(
    'bnkh,khd->bnd',
    _naive(query, key, value, mask),
    params['out']['kernel'],
  )
  np.testing.assert_allclose(
    layer.apply({'params': params}, x, jnp.asarray(mask), angles),
    expected,
    atol=1e-4,
  )


@pytest.mark.parametrize(
  ('packing', 'index'),
  [
    (None, [[0] * 3, [1] * 3]),
    (Packing(packed=1), [[0] * 3, [1, 2, 3]]),
    (Packing(groups=2, packed=1), [[0, 1, 2], [3, 4, 5]]),
  ],
  ids=['own', 'some', 'frame'],
)
def test_cross_attention_equals_loops(packing, index):
  x = _normal(2, 3, 4, 16)
  text = _normal(1 + np.max(index), 5, 10, seed=1)
  mask = np.random.default_rng(5).random(text.shape[:2]) < 0.6
  mask[..., 0] = True
  layer = CrossAttention(CONFIG)
  inputs = x, text, jnp.asarray(mask), packing
  boxed = jax.eval_shape(layer.init, rng.root(0), *inputs)
  params = _awake(boxed['params'])
  expected = np.zeros(x.shape)
  for row, frame in np.ndindex(2, 3):
    own = index[row][frame]
    query, key, value = (
      np.einsum('nd,dkh->nkh', source, params[name]['kernel'])[None]
      for name, source in (
        ('query', x[row, frame]),
        ('key', text[own]),
        ('value', text[own]),
      )
    )
    out = _naive(query, key, value, mask[own][None, None])
    expected[row, frame] = np.einsum(
      'nkh,khd->nd', out[0], params['out']['kernel']
    )
  np.testing.assert_allclose(
    layer.apply({'params': params}, *inputs), expected, atol=1e-4
  )


def test_keys_and_values_are_computed_once_per_text():
  """A text of a row is multiplied once, not for each latent frame."""
  x, text, mask = _normal(8, 3, 4, 16), _normal(10, 5, 10), jnp.ones((10, 5))
  layer, inputs = CrossAttention(CONFIG), (x, text, mask > 0, Packing(packed=1))
  params = layer.init(rng.root(0), *inputs)
  program = jax.make_jaxpr(layer.apply)(params, *inputs)
  products = [e for e in program.eqns if e.primitive.name == 'dot_general']
  shapes = [tuple(v.aval.shape for v in e.invars) for e in products]
  assert shapes.count(((10 * 5, 10), (10, 2 * 8))) == 2
  # Queries of a whole row read the keys of its text.
  batches = [e.invars[1].aval.shape for e in products]
  assert (1, 7, 5, 2, 8) in batches and (1, 3, 5, 2, 8) in batches


def test_segments_equal_a_mask_of_all_pairs():
  x = _normal(2, 12, 16)
  segments = jnp.asarray([[0, 1, 1], [0, 0, -1]])
  tokens = np.repeat(segments, 4, 1)
  mask = jnp.asarray(tokens[:, :, None] == tokens[:, None])
  layer = SelfAttention(CONFIG)
  params = _awake(layer.init(rng.root(0), x))
  np.testing.assert_array_equal(
    layer.apply(params, x, segments=segments), layer.apply(params, x, mask)
  )
  program = jax.make_jaxpr(lambda x: layer.apply(params, x, segments=segments))
  for equation in program(x).eqns:
    for out in equation.outvars:
      is_pairs = out.aval.shape[-2:] == (12, 12)
      assert not (is_pairs and out.aval.dtype == bool), 'a mask of all pairs'


def test_both_attentions_start_at_zero():
  x, text = _normal(1, 2, 4, 16), _normal(1, 5, 10)
  for layer, inputs in (
    (SelfAttention(CONFIG), (x,)),
    (CrossAttention(CONFIG), (x, text, jnp.ones((1, 5), bool))),
  ):
    params = jax.jit(layer.init)(rng.root(0), *inputs)['params']
    assert not sharding.unbox(params)['out']['kernel'].any()
    assert sharding.unbox(params)['qkv' if len(inputs) == 1 else 'query'][
      'kernel'
    ].any()
