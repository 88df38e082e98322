"""Conversion between `uint8` pixels and the range of the models.

Data loaders and media writers use `uint8` RGB in 0..255; models use `float32`
in [-1, 1]. Nothing else in the package rescales pixels.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8


def normalise(pixels: UInt8[Array, '*b C']) -> Float[Array, '*b C']:
  """Map `uint8` 0..255 to `float32` in [-1, 1].

  Raises:
    ValueError: the input is not `uint8`.
  """
  if pixels.dtype != jnp.uint8:
    raise ValueError(
      f'pixels have dtype {pixels.dtype} but must be uint8 in 0..255; convert '
      'them where their range is known'
    )
  return pixels.astype(jnp.float32) / 127.5 - 1.0


def to_uint8(pixels: Float[Array, '*b C']) -> UInt8[Array, '*b C']:
  """Map [-1, 1] to `uint8` 0..255; other values are clipped."""
  scaled = (pixels.astype(jnp.float32) + 1.0) * 127.5
  return jnp.clip(jnp.round(scaled), 0, 255).astype(jnp.uint8)
