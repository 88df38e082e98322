"""The interface of quantizers, and statistics of codebook usage."""

from typing import Protocol, no_type_check

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


# No type checks: JAX also builds it around leaves that are not arrays.
@no_type_check
@flax.struct.dataclass
class Quantized:
  """The output of a quantizer.

  Attributes:
    vectors: quantized vectors of the input's shape; their gradients pass
      straight through to the input.
    ids: token ids in [0, codes).
    loss: the quantizer's loss for each vector; 0 if it has none.
  """

  vectors: Float[Array, '*b D']
  ids: Int[Array, '*b']
  loss: Float[Array, '*b']


class Quantizer(Protocol):
  """A map between vectors and the ids of a finite codebook."""

  def __call__(
    self, z: Float[Array, '*b D'], weights: Float[Array, '*b'] | None = None
  ) -> Quantized:
    """Quantize vectors with any leading dimensions.

    Args:
      z: the vectors.
      weights: weight of each vector in statistics of the batch, 0 for padding;
        1 by default.
    """
    ...

  def lookup(self, ids: Int[Array, '*b']) -> Float[Array, '*b D']:
    """Return the vectors that `__call__` returns together with these ids."""
    ...

  def project(self, z: Float[Array, '*b D']) -> Float[Array, '*b lookup']:
    """Return what is rounded to the codes: continuous latents."""
    ...

  def snap(self, latents: Float[Array, '*b lookup']) -> Float[Array, '*b D']:
    """Return the vectors of the codes that latents are rounded to."""
    ...


def straight_through(
  z: Float[Array, '*b'], quantized: Float[Array, '*b']
) -> Float[Array, '*b']:
  """Return `quantized` exactly, with the gradient of the identity in `z`."""
  return jax.lax.stop_gradient(quantized) + (z - jax.lax.stop_gradient(z))


# No type checks: JAX also builds it around leaves that are not arrays.
@no_type_check
@flax.struct.dataclass
class CodeUse:
  """Codebook usage of a batch.

  Attributes:
    usage: fraction of the codes that occur at least once, in [0, 1].
    perplexity: exp of the entropy of the ids, from 1 (a single code) to the
      number of codes (all equally frequent).
  """

  usage: Float[Array, '']
  perplexity: Float[Array, '']


def code_use(
  ids: Int[Array, '*b'], weights: Float[Array, '*b'], codes: int
) -> CodeUse:
  """Measure the codebook usage of a batch.

  Args:
    ids: token ids.
    weights: weight of each id; 0 for padding.
    codes: size of the codebook.
  """
  counts = jnp.zeros(codes, jnp.float32)
  counts = counts.at[ids.reshape(-1)].add(weights.reshape(-1))
  share = counts / jnp.maximum(counts.sum(), 1.0)
  entropy = -jnp.sum(jax.scipy.special.xlogy(share, share))
  return CodeUse(
    usage=jnp.mean((counts > 0).astype(jnp.float32)),
    perplexity=jnp.exp(entropy),
  )
