"""Lookup-free quantization (MAGVIT-v2, arXiv 2310.05737, section 3.1).

Vectors are projected to one dimension per bit, and each dimension is replaced
by its sign, so that the codebook is all corners of a cube. An entropy penalty
makes the code of each vector certain and the codes of a batch diverse.
"""

from typing import no_type_check

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from phenaki_jax.nn.layers import Dense
from phenaki_jax.tokenizer.quantizers.base import Quantized, straight_through

_CHUNK = 4096  # vectors whose code probabilities are in memory at a time


class LFQ(nn.Module):
  """Quantize each of a few dimensions to its sign.

  Attributes:
    bits: number of dimensions; there are 2**bits codes.
    features: width of the input and output vectors.
    commitment: weight of the commitment term, which moves vectors towards their
      codes.
    entropy: weight of the entropy terms.
  """

  bits: int
  features: int
  commitment: float = 0.25
  entropy: float = 0.1

  def setup(self) -> None:
    """Create the projections to the quantized dimensions and back."""
    self.down = Dense(self.bits, ('embed', None), use_bias=True)
    self.up = Dense(self.features, (None, 'embed'), use_bias=True)

  def __call__(
    self, z: Float[Array, '*b D'], weights: Float[Array, '*b'] | None = None
  ) -> Quantized:
    """Quantize vectors.

    The loss of a vector is

      commitment * mean((z - sg(code))^2) + entropy * (own - common) / bits,

    where `own` and `common` are the entropies that `code_entropies` returns.

    Args:
      z: the vectors.
      weights: the weight of each vector in the common entropy; 0 for padding.
    """
    z = self.project(z)
    above = z > 0
    signs = jnp.where(above, 1.0, -1.0)
    # Summed as integers: a TPU's matrix product would round large ids.
    strides = jnp.broadcast_to(
      2 ** np.arange(self.bits, dtype=np.int32), z.shape
    )
    ids = jnp.sum(jnp.where(above, strides, 0), -1)
    loss = self.commitment * jnp.mean(
      (z - jax.lax.stop_gradient(signs)) ** 2, -1
    )
    if self.entropy:
      found = code_entropies(
        z, jnp.ones(ids.shape) if weights is None else weights
      )
      loss = loss + self.entropy * (found.own - found.common) / self.bits
    return Quantized(
      vectors=self.up(straight_through(z, signs)), ids=ids, loss=loss
    )

  def lookup(self, ids: Int[Array, '*b']) -> Float[Array, '*b D']:
    """Return the vectors of ids."""
    shape = (*ids.shape, self.bits)
    shifts = jnp.broadcast_to(np.arange(self.bits, dtype=np.int32), shape)
    bits = (ids[..., None] >> shifts) & 1
    return self.up(2.0 * bits.astype(jnp.float32) - 1.0)

  def project(self, z: Float[Array, '*b D']) -> Float[Array, '*b bits']:
    """Return what is replaced by its signs."""
    return self.down(z.astype(jnp.float32))

  def snap(self, latents: Float[Array, '*b bits']) -> Float[Array, '*b D']:
    """Return the vectors of the signs of latents."""
    return self.up(jnp.where(latents > 0, 1.0, -1.0))


# No type checks: JAX also builds it around leaves that are not arrays.
@no_type_check
@flax.struct.dataclass
class CodeEntropies:
  """Entropies of the codes of vectors, in nats.

  Attributes:
    own: entropy of each vector's distribution over the codes.
    common: entropy of the mean of these distributions.
  """

  own: Float[Array, '*b']
  common: Float[Array, '']


def code_entropies(
  z: Float[Array, '*b bits'], weights: Float[Array, '*b']
) -> CodeEntropies:
  """Compute the entropies of equation 5 of MAGVIT-v2.

  A vector z has code c with probability softmax(-|z - c|^2), which is a product
  over its dimensions: dimension i is +1 with probability sigmoid(4 z_i). An
  entropy of one vector is therefore a sum over dimensions. The mean over
  vectors is not; it is the product of two matrices, the probabilities of
  the lower and of the upper half of the bits, whose sizes are the square root
  of the codebook's.

  Args:
    z: vectors before they are quantized.
    weights: weight of each vector in the mean; 0 for padding.
  """
  logits = 4.0 * z
  on, off = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
  own = -jnp.sum(jnp.exp(on) * on + jnp.exp(off) * off, -1)

  bits = z.shape[-1]
  flat = logits.reshape(-1, bits)
  flat_weights = weights.reshape(-1)
  chunk = min(_CHUNK, flat.shape[0])
  missing = -flat.shape[0] % chunk
  flat = jnp.pad(flat, ((0, missing), (0, 0))).reshape(-1, chunk, bits)
  flat_weights = jnp.pad(flat_weights, (0, missing)).reshape(-1, chunk)

  @jax.checkpoint
  def add(total: Array, part: tuple[Array, Array]) -> tuple[Array, None]:
    logits, weights = part
    low = _probabilities(logits[:, : bits // 2])
    high = _probabilities(logits[:, bits // 2 :])
    found = jnp.matmul(
      (weights[:, None] * high).T, low, precision=jax.lax.Precision.HIGHEST
    )
    return total + found, None

  start = jnp.zeros((2 ** (bits - bits // 2), 2 ** (bits // 2)))
  total, _ = jax.lax.scan(add, start, (flat, flat_weights))
  mean = total / jnp.maximum(flat_weights.sum(), 1e-6)
  # The derivative of x log x at a probability of 0 would be infinite.
  common = -jnp.sum(mean * jnp.log(jnp.maximum(mean, 1e-30)))
  return CodeEntropies(own=own, common=common)


def _probabilities(logits: Float[Array, 'N bits']) -> Float[Array, 'N codes']:
  """Return the probabilities of all codes of a few bits."""
  bits = logits.shape[-1]
  codes = np.arange(2**bits)[:, None] >> np.arange(bits)[None] & 1
  signs = jnp.asarray(2.0 * codes.T - 1.0, jnp.float32)
  # log sigmoid(s l) = (s l - |l|) / 2 - log(1 + exp(-|l|)) for a sign s.
  even = -0.5 * jnp.abs(logits) - jnp.log1p(jnp.exp(-jnp.abs(logits)))
  exact = jax.lax.Precision.HIGHEST
  odd = jnp.matmul(0.5 * logits, signs, precision=exact)
  return jnp.exp(odd + even.sum(-1, keepdims=True))
