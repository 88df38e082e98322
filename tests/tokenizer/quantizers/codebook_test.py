"""Codes drawn from a batch, clusters, and the count of unused steps."""

import jax.numpy as jnp
import numpy as np

from phenaki_jax import rng
from phenaki_jax.tokenizer.quantizers.codebook import (
  count_unused,
  draw,
  kmeans,
)


def _unit(x):
  return x / np.linalg.norm(x, axis=-1, keepdims=True)


def _groups():
  """Return 3 well separated groups of unit vectors, and padding."""
  generator = np.random.default_rng(0)
  centres = np.eye(3, 4)
  vectors = _unit(
    np.repeat(centres, 20, 0) + 0.05 * generator.normal(size=(60, 4))
  )
  padding = np.tile([0.0, 0.0, 0.0, 1.0], (10, 1))
  weights = np.array([1.0] * 60 + [0.0] * 10)
  return np.float32(np.concatenate([vectors, padding])), np.float32(weights)


def test_drawn_codes_are_distinct_vectors_of_the_batch():
  vectors, weights = _groups()
  codes = np.asarray(
    draw(jnp.asarray(vectors), jnp.asarray(weights), 30, rng.root(1))
  )
  similarity = codes @ vectors.T
  nearest = similarity.argmax(-1)
  assert similarity.max(-1).min() > 0.999
  assert len(set(nearest)) == 30
  assert nearest.max() < 60, 'padding is never drawn'


def test_more_codes_than_vectors_are_kept_apart():
  vectors, weights = _groups()
  codes = np.asarray(
    draw(jnp.asarray(vectors), jnp.asarray(weights), 200, rng.root(1))
  )
  assert len(np.unique(codes, axis=0)) == 200
  np.testing.assert_allclose(np.linalg.norm(codes, axis=-1), 1.0, atol=1e-5)


def test_padding_is_never_drawn():
  # Two real vectors, and fewer of them than codes.
  vectors = jnp.eye(8)
  weights = jnp.array([1.0, 1.0] + [0.0] * 6)
  for seed in range(5):
    drawn = draw(vectors, weights, 4, rng.root(seed))
    assert set(np.argmax(np.asarray(drawn @ vectors.T), axis=1)) <= {0, 1}


def test_kmeans_equals_lloyd_rounds_in_numpy():
  vectors, weights = _groups()
  inputs = jnp.asarray(vectors), jnp.asarray(weights)
  centres = np.array(draw(*inputs, 5, rng.root(3)))
  for _ in range(10):
    nearest = (vectors @ centres.T).argmax(-1)
    for code in range(5):
      chosen = (nearest == code) & (weights > 0)
      if chosen.any():
        centres[code] = _unit(vectors[chosen].sum(0))
  found = kmeans(*inputs, 5, rng.root(3))
  np.testing.assert_allclose(found, centres, atol=1e-5)
  # Every group has a centre.
  assert (np.asarray(found) @ np.eye(3, 4).T).max(0).min() > 0.99


def test_unused_steps_are_counted():
  unused = count_unused(jnp.array([0.0, 4.0, 2.0]), jnp.array([0.0, 3.0, 0.0]))
  np.testing.assert_array_equal(unused, [1.0, 0.0, 3.0])
