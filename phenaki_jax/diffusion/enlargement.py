"""Small copies of clips, and their enlargement."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from phenaki_jax.pixels import normalise, to_uint8


def reduce(
  pixels: Float[Array, '*b H W C'], factor: int
) -> Float[Array, '*b h w C']:
  """Average squares of `factor` pixels, without rounding to uint8."""
  *lead, height, width, channels = pixels.shape
  shape = (*lead, height // factor, factor, width // factor, factor, channels)
  return pixels.reshape(shape).mean((-4, -2))


def reduce_uint8(
  pixels: Float[Array, '*b H W C'], factor: int
) -> Float[Array, '*b h w C']:
  """Return the small copy as a file holds it, of values in [-1, 1]."""
  return normalise(to_uint8(reduce(pixels, factor)))


def enlarge(
  pixels: Float[Array, '*b h w C'], factor: int
) -> Float[Array, '*b H W C']:
  """Interpolate bicubically to a multiple of the sides."""
  *lead, height, width, channels = pixels.shape
  shape = (*lead, height * factor, width * factor, channels)
  return jax.image.resize(pixels, shape, 'cubic')


def project(
  pixels: Float[Array, '*b H W C'], small: Float[Array, '*b h w C']
) -> Float[Array, '*b H W C']:
  """Return the nearest clip whose small copy is the given one.

  It is never farther from the true clip, which has that small copy. Values out
  of [-1, 1] are brought back to it where that is possible.
  """
  factor = pixels.shape[-2] // small.shape[-2]

  def once(pixels: Array) -> Array:
    missing = small - reduce(pixels, factor)
    for axis in (-3, -2):
      missing = jnp.repeat(missing, factor, axis)
    return pixels + missing

  for _ in range(4):
    pixels = jnp.clip(once(pixels), -1.0, 1.0)
  return once(pixels)
