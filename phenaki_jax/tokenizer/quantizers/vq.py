"""Vector quantization with factorised, L2-normalised codes, as in Phenaki.

Vectors are projected to a low-dimensional lookup space, normalised, replaced by
the nearest code and projected back (ViT-VQGAN, arXiv 2110.04627, section 3.2).
The codebook is trained by gradient descent (Phenaki, appendix A.1).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from phenaki_jax.nn.layers import Dense
from phenaki_jax.sharding import logical
from phenaki_jax.tokenizer.quantizers.base import Quantized, straight_through
from phenaki_jax.tokenizer.quantizers.codebook import unit


class VQ(nn.Module):
  """Quantize to the nearest code of a learned codebook.

  Attributes:
    codes: number of codes.
    code_dim: width of the lookup space.
    features: width of the input and output vectors.
    commitment: weight of the commitment term, which moves vectors towards their
      codes.
  """

  codes: int
  code_dim: int
  features: int
  commitment: float = 0.25

  def setup(self) -> None:
    """Create the codebook and the projections to its space and back."""
    self.down = Dense(self.code_dim, ('embed', None))
    self.up = Dense(self.features, (None, 'embed'))
    self.codebook = self.param(
      'codebook',
      logical(nn.initializers.normal(1.0), 'codebook', None),
      (self.codes, self.code_dim),
      jnp.float32,
    )

  def __call__(
    self, z: Float[Array, '*b D'], weights: Float[Array, '*b'] | None = None
  ) -> Quantized:
    """Quantize vectors; the weights are not read.

    The loss is mean((sg(z) - code)^2) + commitment * mean((z - sg(code))^2),
    where sg stops the gradient. The means are over the dimensions of a code, as
    the pixel term is a mean over pixels: with sums the codebook collapses.
    """
    del weights
    z = self.project(z)
    # Read by the task if it revives codes or starts them from data.
    self.sow('intermediates', 'lookup', z)
    ids = self._nearest(z)
    chosen = unit(self.codebook)[ids]
    stop = jax.lax.stop_gradient
    codebook_loss = jnp.mean((stop(z) - chosen) ** 2, -1)
    commitment_loss = jnp.mean((z - stop(chosen)) ** 2, -1)
    return Quantized(
      vectors=self.up(straight_through(z, chosen)),
      ids=ids,
      loss=codebook_loss + self.commitment * commitment_loss,
    )

  def lookup(self, ids: Int[Array, '*b']) -> Float[Array, '*b D']:
    """Return the vectors of ids."""
    return self.up(unit(self.codebook)[ids])

  def project(self, z: Float[Array, '*b D']) -> Float[Array, '*b lookup']:
    """Return unit vectors in the space of the codes."""
    return unit(self.down(z.astype(jnp.float32)))

  def snap(self, latents: Float[Array, '*b lookup']) -> Float[Array, '*b D']:
    """Return the vectors of the codes that are nearest to latents."""
    return self.lookup(self._nearest(latents))

  def _nearest(self, z: Float[Array, '*b lookup']) -> Int[Array, '*b']:
    """Return the ids of the codes with the largest dot products.

    Among unit vectors, they are the nearest. Nearly equal codes need the exact
    product, which is not the default on accelerators.
    """
    similarity = jnp.matmul(
      z, unit(self.codebook).T, precision=jax.lax.Precision.HIGHEST
    )
    return jnp.argmax(similarity, axis=-1).astype(jnp.int32)
