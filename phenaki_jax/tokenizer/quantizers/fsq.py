"""Finite scalar quantization (Mentzer et al., arXiv 2309.15505).

Vectors are projected to a few dimensions; each is bounded and rounded to one
of its levels. The codebook consists of all combinations of levels. Only the two
projections are learned, so there are no codes that training could abandon.
"""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from phenaki_jax.nn.layers import Dense
from phenaki_jax.tokenizer.quantizers.base import Quantized, straight_through


class FSQ(nn.Module):
  """Quantize by rounding each of a few dimensions to its levels.

  Attributes:
    levels: number of values of each dimension.
    features: width of the input and output vectors.
  """

  levels: tuple[int, ...]
  features: int

  def setup(self) -> None:
    """Create the projections to the quantized dimensions and back."""
    self.down = Dense(len(self.levels), ('embed', None), use_bias=True)
    self.up = Dense(self.features, (None, 'embed'), use_bias=True)

  def project(self, z: Float[Array, '*b D']) -> Float[Array, '*b n']:
    """Return what is rounded, in [-1, 1]."""
    return jnp.tanh(self.down(z.astype(jnp.float32)))

  def snap(self, latents: Float[Array, '*b n']) -> Float[Array, '*b D']:
    """Return the vectors of the codes that latents are rounded to."""
    return self._vectors(self._round(latents))

  def _round(self, latents: Float[Array, '*b n']) -> Float[Array, '*b n']:
    """Round to digits 0..level-1, with straight-through gradients."""
    top = np.array(self.levels, np.float32) - 1.0
    scale = jnp.broadcast_to(top / 2, latents.shape)
    # The bounds lie slightly beyond the outermost levels: tanh reaches its own
    # limits only for infinite inputs.
    bounded = (latents * 1.05 + 1.0) * scale
    digits = jnp.clip(jnp.round(bounded), 0.0, 2 * scale)
    return straight_through(bounded, digits)

  def _vectors(self, digits: Float[Array, '*b n']) -> Float[Array, '*b D']:
    top = np.array(self.levels, np.float32) - 1.0
    half = jnp.broadcast_to(top / 2, digits.shape)
    return self.up(digits / half - 1.0)

  def __call__(
    self, z: Float[Array, '*b D'], weights: Float[Array, '*b'] | None = None
  ) -> Quantized:
    """Quantize vectors; the loss is zero, and the weights are not read."""
    del weights
    digits = self._round(self.project(z))
    # Summed as integers: a TPU's matrix product would round large ids.
    strides = np.cumprod((1, *self.levels[:-1])).astype(np.int32)
    whole = digits.astype(jnp.int32)
    ids = jnp.sum(whole * jnp.broadcast_to(strides, whole.shape), -1)
    return Quantized(
      vectors=self._vectors(digits), ids=ids, loss=jnp.zeros(ids.shape)
    )

  def lookup(self, ids: Int[Array, '*b']) -> Float[Array, '*b D']:
    """Return the vectors of ids."""
    digits = []
    for level in self.levels:
      digits.append(ids % level)
      ids = ids // level
    return self._vectors(jnp.stack(digits, -1).astype(jnp.float32))
