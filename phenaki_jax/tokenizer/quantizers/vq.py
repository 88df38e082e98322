"""Vector quantization as in the paper: factorised, L2-normalised codes.

Vectors are projected to a narrow lookup space, compared on the unit sphere
(ViT-VQGAN, arXiv 2110.04627, section 3.2) and projected back. The codebook
is trained by gradient, as Phenaki's objective (appendix A.1) has it.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from phenaki_jax.nn.layers import Dense
from phenaki_jax.sharding import logical
from phenaki_jax.tokenizer.quantizers.base import Quantized, straight_through


def _unit(x: Float[Array, '*b']) -> Float[Array, '*b']:
  return x * jax.lax.rsqrt(jnp.sum(x * x, -1, keepdims=True) + 1e-12)


class VQ(nn.Module):
  """Replace each vector by the nearest of the learned codes.

  Attributes:
    codes: number of codes.
    code_dim: width in which codes are compared.
    features: width of the vectors outside.
    commitment: weight of the term that pulls vectors to their codes.
  """

  codes: int
  code_dim: int
  features: int
  commitment: float = 0.25

  def setup(self) -> None:
    """Create the codebook and the maps into and out of its space."""
    self.down = Dense(self.code_dim, ('embed', None))
    self.up = Dense(self.features, (None, 'embed'))
    self.codebook = self.param(
      'codebook',
      logical(nn.initializers.normal(1.0), 'codebook', None),
      (self.codes, self.code_dim),
      jnp.float32,
    )

  def __call__(self, z: Float[Array, '*b D']) -> Quantized:
    """Quantize vectors; the loss is codebook + commitment * commit term."""
    z = _unit(self.down(z.astype(jnp.float32)))
    codebook = _unit(self.codebook)
    # On the unit sphere the nearest code is the one with the largest product.
    ids = jnp.argmax(z @ codebook.T, axis=-1).astype(jnp.int32)
    chosen = codebook[ids]
    stop = jax.lax.stop_gradient
    pull_codes = jnp.sum((stop(z) - chosen) ** 2, -1)
    pull_vectors = jnp.sum((z - stop(chosen)) ** 2, -1)
    return Quantized(
      vectors=self.up(straight_through(z, chosen)),
      ids=ids,
      loss=pull_codes + self.commitment * pull_vectors,
    )

  def lookup(self, ids: Int[Array, '*b']) -> Float[Array, '*b D']:
    """Return the vectors of ids."""
    return self.up(_unit(self.codebook)[ids])
