"""Start a VQ codebook from data, and replace codes that are not used."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

_ROUNDS = 10


def draw(
  vectors: Float[Array, 'N d'],
  weights: Float[Array, 'N'],
  codes: int,
  key: Key[Array, ''],
) -> Float[Array, 'V d']:
  """Draw vectors of a batch, without repeats if there are enough real ones.

  Args:
    vectors: unit vectors.
    weights: relative probability of each vector; 0 for padding.
    codes: number of vectors to draw.
    key: of the draw.
  """
  chosen, noise = jax.random.split(key)
  # Too few vectors are drawn repeatedly; noise keeps the copies apart.
  count = vectors.shape[0]
  share = weights / jnp.maximum(weights.sum(), 1e-6)
  index = jax.random.choice(chosen, count, (codes,), p=share)
  if count >= codes:
    apart = jax.random.choice(chosen, count, (codes,), replace=False, p=share)
    index = jnp.where((weights > 0).sum() >= codes, apart, index)
  noisy = vectors[index] + 1e-3 * jax.random.normal(
    noise, (codes, vectors.shape[1])
  )
  return unit(noisy)


def kmeans(
  vectors: Float[Array, 'N d'],
  weights: Float[Array, 'N'],
  codes: int,
  key: Key[Array, ''],
) -> Float[Array, 'V d']:
  """Cluster unit vectors by their cosine, from drawn centres, in ten rounds.

  A centre without vectors stays where it is.

  Args:
    vectors: unit vectors.
    weights: weight of each vector; 0 for padding.
    codes: number of clusters.
    key: of the first centres.
  """
  exact = jax.lax.Precision.HIGHEST

  def improve(_: Any, centres: Array) -> Array:
    nearest = jnp.argmax(jnp.matmul(vectors, centres.T, precision=exact), -1)
    sums = jnp.zeros_like(centres).at[nearest].add(weights[:, None] * vectors)
    found = jnp.zeros(codes).at[nearest].add(weights) > 0
    return jnp.where(found[:, None], unit(sums), centres)

  first = draw(vectors, weights, codes, key)
  return jax.lax.fori_loop(0, _ROUNDS, improve, first)


def count_unused(
  unused: Float[Array, 'V'], used: Float[Array, 'V']
) -> Float[Array, 'V']:
  """Return the steps since each code was last used.

  Args:
    unused: the same before this step.
    used: uses in this step.
  """
  return jnp.where(used > 0, 0.0, unused + 1.0)


def unit(x: Float[Array, '*b d']) -> Float[Array, '*b d']:
  """Scale vectors to length 1."""
  return x * jax.lax.rsqrt(jnp.sum(x * x, -1, keepdims=True) + 1e-12)
