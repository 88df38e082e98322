"""Finite scalar quantization (Mentzer et al., arXiv 2309.15505).

Each of a few dimensions is bounded and rounded to one of its levels; the
product of the levels is the codebook. Nothing is learned but the maps into
and out of the few dimensions, so the codebook cannot collapse by itself.
"""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from phenaki_jax.nn.layers import Dense
from phenaki_jax.tokenizer.quantizers.base import Quantized, straight_through


class FSQ(nn.Module):
  """Round each dimension to its levels.

  Attributes:
    levels: number of values of each dimension.
    features: width of the vectors outside.
  """

  levels: tuple[int, ...]
  features: int

  def setup(self) -> None:
    """Create the maps into and out of the quantized dimensions."""
    self.down = Dense(len(self.levels), ('embed', None), use_bias=True)
    self.up = Dense(self.features, (None, 'embed'), use_bias=True)

  def _round(self, z: Float[Array, '*b n']) -> Float[Array, '*b n']:
    """Round to the digits 0..level-1, with straight-through gradients."""
    top = np.array(self.levels, np.float32) - 1.0
    scale = jnp.broadcast_to(top / 2, z.shape)
    # A little beyond the outermost levels, so that they are reached.
    bounded = (jnp.tanh(z) * 1.05 + 1.0) * scale
    digits = jnp.clip(jnp.round(bounded), 0.0, 2 * scale)
    return straight_through(bounded, digits)

  def _vectors(self, digits: Float[Array, '*b n']) -> Float[Array, '*b D']:
    top = np.array(self.levels, np.float32) - 1.0
    half = jnp.broadcast_to(top / 2, digits.shape)
    return self.up(digits / half - 1.0)

  def __call__(self, z: Float[Array, '*b D']) -> Quantized:
    """Quantize vectors; the loss is zero."""
    digits = self._round(self.down(z.astype(jnp.float32)))
    # Whole numbers, since a TPU's matrix product would round the larger ones.
    place = np.cumprod((1, *self.levels[:-1])).astype(np.int32)
    whole = digits.astype(jnp.int32)
    ids = jnp.sum(whole * jnp.broadcast_to(place, whole.shape), -1)
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
