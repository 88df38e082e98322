"""The one place where pixel values change their range.

Loaders hand out `uint8` RGB in 0..255, models see `float32` in [-1, 1], and
writers take `uint8` again. Nothing else in the package rescales a pixel.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8


def normalise(pixels: UInt8[Array, '*b C']) -> Float[Array, '*b C']:
  """Map `uint8` 0..255 to `float32` in [-1, 1].

  Raises:
    ValueError: the input is not `uint8`, so its range is unknown.
  """
  if pixels.dtype != jnp.uint8:
    raise ValueError(
      f'pixels have dtype {pixels.dtype}; the loader must hand out uint8 '
      'values 0..255. Convert them there, so that the range stays known.'
    )
  return pixels.astype(jnp.float32) / 127.5 - 1.0


def to_uint8(pixels: Float[Array, '*b C']) -> UInt8[Array, '*b C']:
  """Map float values in [-1, 1] to `uint8` 0..255, clipped and rounded."""
  scaled = (pixels.astype(jnp.float32) + 1.0) * 127.5
  return jnp.clip(jnp.round(scaled), 0, 255).astype(jnp.uint8)
