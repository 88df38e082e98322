"""What every quantizer does, and how its use of codes is counted."""

from typing import Protocol, no_type_check

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


# jax rebuilds it around leaves that are no arrays, so no checks inside.
@no_type_check
@flax.struct.dataclass
class Quantized:
  """What a quantizer makes of its input.

  Attributes:
    vectors: quantized vectors of the input's shape; gradients pass straight
      through to the input.
    ids: token ids, 0..codes-1.
    loss: the quantizer's own loss of each vector, 0 where it has none.
  """

  vectors: Float[Array, '*b D']
  ids: Int[Array, '*b']
  loss: Float[Array, '*b']


class Quantizer(Protocol):
  """Turn vectors into ids of a finite codebook, and back."""

  def __call__(self, z: Float[Array, '*b D']) -> Quantized:
    """Quantize vectors of any leading shape."""
    ...

  def lookup(self, ids: Int[Array, '*b']) -> Float[Array, '*b D']:
    """Return the vectors of ids, equal to what `__call__` gave for them."""
    ...


def straight_through(
  z: Float[Array, '*b'], quantized: Float[Array, '*b']
) -> Float[Array, '*b']:
  """Return exactly `quantized`, with the gradient of the identity in `z`."""
  return jax.lax.stop_gradient(quantized) + (z - jax.lax.stop_gradient(z))


# jax rebuilds it around leaves that are no arrays, so no checks inside.
@no_type_check
@flax.struct.dataclass
class CodeUse:
  """How the ids of a batch spread over the codebook.

  Attributes:
    usage: share of the codes that occur at least once, in [0, 1].
    perplexity: exp of the ids' entropy, 1 (one code) to the codebook's size.
  """

  usage: Float[Array, '']
  perplexity: Float[Array, '']


def code_use(
  ids: Int[Array, '*b'], weights: Float[Array, '*b'], codes: int
) -> CodeUse:
  """Measure how ids spread over a codebook of `codes` entries.

  Args:
    ids: token ids.
    weights: how much each counts: 1, and 0 for padding.
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
