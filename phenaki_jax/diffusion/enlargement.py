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
  """Return a clip whose small copy is the given one.

  Squares are moved to the given means. Where values would leave [-1, 1], the
  differences within a square are made smaller.
  """
  factor = pixels.shape[-2] // small.shape[-2]
  mean = _repeated(small, factor)
  detail = pixels - _repeated(reduce(pixels, factor), factor)
  # The share of each difference that stays within the range.
  room = jnp.where(detail > 0, 1.0 - mean, 1.0 + mean)
  share = jnp.minimum(1.0, room / jnp.maximum(jnp.abs(detail), 1e-6))
  *lead, height, width, channels = share.shape
  shape = (*lead, height // factor, factor, width // factor, factor, channels)
  least = share.reshape(shape).min((-4, -2))
  return mean + _repeated(least, factor) * detail


def _repeated(
  small: Float[Array, '*b h w C'], factor: int
) -> Float[Array, '*b H W C']:
  """Repeat each pixel in a square."""
  return jnp.repeat(jnp.repeat(small, factor, -3), factor, -2)
