"""The discriminator of StyleGAN (arXiv 1912.04958), over frames or clips.

Residual blocks halve the size after a blur, which removes the frequencies that
the smaller size cannot hold. Phenaki names blur resampling and a channel
multiplier of 1 (appendix A.1); the 3-D form, in which every convolution is
inflated in time, is that of MAGVIT (arXiv 2212.05199, section 3.1).

There is no normalisation over the batch: the score of a frame or a clip
depends on nothing else. The last layer averages over positions, so that one
discriminator scores any size and images as well as clips.
"""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from phenaki_jax.nn.layers import fan_in_normal
from phenaki_jax.sharding import logical

_GAIN = math.sqrt(2)  # restores the variance after a leaky ReLU


class Discriminator(nn.Module):
  """Score frames or clips; high scores mean real ones.

  Attributes:
    channels: channels of the first convolution, and of each block after it.
    over_time: convolve over time as well.
  """

  channels: Sequence[int]
  over_time: bool = False

  @nn.compact
  def __call__(self, pixels: Float[Array, '... C']) -> Float[Array, 'B']:
    """Return a score for each frame or clip.

    Args:
      pixels: frames [B, H, W, 3] or clips [B, T, H, W, 3] in [-1, 1].
    """
    dims = 3 if self.over_time else 2
    first, *rest = self.channels
    x = _activate(_Conv(first, dims, 3, name='first')(pixels))
    for index, features in enumerate(rest):
      y = _activate(_Conv(x.shape[-1], dims, 3, name=f'block_{index}_a')(x))
      y = _activate(_Conv(features, dims, 3, name=f'block_{index}_b')(halve(y)))
      skip = _Conv(
        features, dims, 1, use_bias=False, name=f'block_{index}_skip'
      )
      x = (y + skip(halve(x))) / math.sqrt(2)
    x = _activate(_Conv(x.shape[-1], dims, 3, name='last')(x))
    x = x.mean(tuple(range(1, x.ndim - 1)))
    x = _activate(_Conv(x.shape[-1], 0, 1, name='hidden')(x))
    return _Conv(1, 0, 1, name='score')(x)[:, 0]


def halve(x: Float[Array, '... C']) -> Float[Array, '... C']:
  """Blur with weights 1, 3, 3, 1 along the middle dimensions, and halve them.

  A size n becomes ceil(n / 2); the edges are repeated.

  Args:
    x: [B, ..., C].
  """
  for axis in range(1, x.ndim - 1):
    size = x.shape[axis]
    width = [(0, 0)] * x.ndim
    width[axis] = (1, 2)
    padded = jnp.pad(x, width, mode='edge')
    parts = (
      weight / 8 * jax.lax.slice_in_dim(padded, i, i + size, 2, axis)
      for i, weight in enumerate((1.0, 3.0, 3.0, 1.0))
    )
    x = sum(parts, start=jnp.zeros((), x.dtype))
  return x


def _activate(x: Float[Array, '*b C']) -> Float[Array, '*b C']:
  return _GAIN * nn.leaky_relu(x, 0.2)


class _Conv(nn.Module):
  """A convolution over the last `dims` dimensions before the channels."""

  features: int
  dims: int
  size: int
  use_bias: bool = True

  @nn.compact
  def __call__(self, x: Float[Array, '... I']) -> Float[Array, '... O']:
    shape = (*(self.size,) * self.dims, x.shape[-1], self.features)
    names = (None,) * len(shape)
    init = logical(fan_in_normal(len(shape) - 1), *names, decay=True)
    kernel = self.param('kernel', init, shape, jnp.float32)
    if self.dims:
      middle = 'DHW'[3 - self.dims :]
      form = f'N{middle}C'
      y = jax.lax.conv_general_dilated(
        x,
        kernel,
        (1,) * self.dims,
        'SAME',
        dimension_numbers=(form, f'{middle}IO', form),
      )
    else:
      y = x @ kernel
    if self.use_bias:
      init = logical(nn.initializers.zeros, None)
      bias = self.param('bias', init, (self.features,), jnp.float32)
      y = y + jnp.broadcast_to(bias, y.shape)
    return y
