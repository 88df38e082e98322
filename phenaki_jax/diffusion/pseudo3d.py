"""Convolutions and attention over space, then over time.

Make-A-Video (arXiv 2209.14792, section 3.2): each layer over time is made so
that it changes nothing at first, and a network for images becomes one for clips
without being trained anew. A switch turns the layers over time off for some
clips. At the ends of a clip the frames are repeated, and attention knows
distances in time alone, so that a still clip stays still.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from phenaki_jax.nn.attention import CrossAttention, SelfAttention
from phenaki_jax.nn.config import TransformerConfig
from phenaki_jax.nn.layers import (
  MLP,
  Initializer,
  RMSNorm,
  fan_in_normal,
  multiply,
)
from phenaki_jax.nn.ports import Memory, read_memory
from phenaki_jax.nn.positions import grid_coordinates, rotary_angles
from phenaki_jax.sharding import logical


def dirac(
  key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32
) -> Array:
  """Return a kernel [taps, C, C] whose convolution changes nothing."""
  del key  # The values are not random.
  taps, channels, _ = shape
  kernel = np.zeros(shape, np.float32)
  kernel[taps // 2] = np.eye(channels)
  return jnp.asarray(kernel, dtype)


class SpaceConv(nn.Module):
  """A convolution of 3 x 3 within each frame, with a bias.

  Attributes:
    features: channels of the output.
    kernel_init: initialiser of the kernel.
    names: logical names of the channels of the input and of the output; None
      where they are values, and not inside the model.
    use_bias: add a learned vector.
    dtype: dtype of the computation.
  """

  features: int
  kernel_init: Initializer = fan_in_normal(3)
  names: tuple[str | None, str | None] = ('embed', 'mlp')
  use_bias: bool = True
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, 'B T H W I']) -> Float[Array, 'B T H W O']:
    """Return an output of the size of the input."""
    kernel = self.param(
      'kernel',
      logical(
        self.kernel_init,
        *(None, None, *self.names),
        inputs=None if None in self.names else 3,
        decay=True,
      ),
      (3, 3, x.shape[-1], self.features),
      jnp.float32,
    )
    frames = x.reshape(-1, *x.shape[2:]).astype(self.dtype)
    y = jax.lax.conv_general_dilated(
      frames,
      kernel.astype(self.dtype),
      window_strides=(1, 1),
      padding='SAME',
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    )
    y = y.reshape(*x.shape[:-1], self.features)
    return y + _bias(self, y, self.names[1]) if self.use_bias else y


class TimeConv(nn.Module):
  """A convolution of 3 frames at each position, at first the identity."""

  names: tuple[str | None, str | None] = ('embed', 'mlp')
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, 'B T H W D']) -> Float[Array, 'B T H W D']:
    """Return an output of the shape of the input."""
    width, length = x.shape[-1], x.shape[1]
    kernel = self.param(
      'kernel',
      logical(
        dirac, None, *self.names, inputs=None if None in self.names else 2
      ),
      (3, width, width),
      jnp.float32,
    ).astype(self.dtype)
    padded = jnp.concatenate([x[:, :1], x, x[:, -1:]], 1)
    parts = (multiply(padded[:, k : k + length], kernel[k]) for k in range(3))
    y = sum(parts, start=jnp.zeros((), self.dtype))
    return y + _bias(self, y, self.names[1])


def _bias(module: nn.Module, y: Array, name: str | None) -> Array:
  """Return a learned vector in the shape of an output."""
  bias = module.param(
    'bias', logical(nn.initializers.zeros, name), y.shape[-1:], jnp.float32
  )
  return jnp.broadcast_to(bias.astype(y.dtype), y.shape)


def switched(
  module: nn.Module,
  layer: nn.Module,
  x: Float[Array, 'B T *r'],
  time: Bool[Array, 'B'] | None,
  residual: bool = False,
) -> Float[Array, 'B T *r']:
  """Apply a layer over time to the clips in which time is on.

  Args:
    module: that the layer is part of.
    layer: maps clips to clips of the same shape.
    x: the clips.
    time: see `Conditions`.
    residual: add the result to the clips, instead of replacing them by it.
  """
  if time is None and not module.is_initializing():
    return x
  y = layer(x)  # type: ignore[operator]
  if residual:
    y = x + y
  if time is None:
    return x
  on = time.reshape((-1,) + (1,) * (x.ndim - 1))
  return jnp.where(jnp.broadcast_to(on, x.shape), y, x)


class PseudoConv(nn.Module):
  """A convolution within frames, then one over time."""

  features: int
  kernel_init: Initializer = fan_in_normal(3)
  names: tuple[str | None, str | None] = ('embed', 'mlp')
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, x: Float[Array, 'B T H W I'], time: Bool[Array, 'B'] | None
  ) -> Float[Array, 'B T H W O']:
    """Return an output of the size of the input; for `time` see `switched`."""
    conv = SpaceConv(
      self.features,
      self.kernel_init,
      self.names,
      dtype=self.dtype,
      name='space',
    )
    # Both sides of a layer over time are outputs of the other.
    names = ('embed', 'mlp') if self.names[1] else (None, None)
    over_time = TimeConv(names, self.dtype, name='time')
    return switched(self, over_time, conv(x), time)


class TimeAttention(nn.Module):
  """Attention over the frames at each position; at first it returns zeros."""

  config: TransformerConfig

  @nn.compact
  def __call__(self, x: Float[Array, 'B T H W D']) -> Float[Array, 'B T H W D']:
    """Return an output of the shape of the input."""
    length = x.shape[1]
    angles = rotary_angles(np.arange(length)[:, None], self.config.head_dim)
    y = RMSNorm(name='norm')(x)
    y = jnp.moveaxis(y, 1, 3).reshape(-1, length, x.shape[-1])
    attention = SelfAttention(self.config, name='attention')
    y = attention(y, angles=jnp.asarray(angles))
    moved = (x.shape[0], *x.shape[2:4], length, x.shape[-1])
    return jnp.moveaxis(y.reshape(moved), 3, 1)


class SpaceTimeAttention(nn.Module):
  """Attention within frames, over time, to the text and to the memory.

  The output of each of them is zero at initialisation, and is added. If
  `mlp_ratio` is not 0, an MLP of that multiple of the width follows.
  """

  head_dim: int
  dtype: DTypeLike = jnp.float32
  mlp_ratio: int = 0

  @nn.compact
  def __call__(
    self,
    x: Float[Array, 'B T H W D'],
    time: Bool[Array, 'B'] | None,
    text: Float[Array, 'B L E'] | None = None,
    text_mask: Bool[Array, 'B L'] | None = None,
    memory: Memory | None = None,
  ) -> Float[Array, 'B T H W D']:
    """Return an output of the shape of the input."""
    batch, length, height, width, channels = x.shape
    is_half = jnp.dtype(self.dtype) == jnp.bfloat16
    config = TransformerConfig(
      width=channels,
      num_heads=channels // self.head_dim,
      dtype='bfloat16' if is_half else 'float32',
    )
    places = grid_coordinates(1, height, width)[:, 1:]
    angles = jnp.asarray(rotary_angles(places, self.head_dim))
    y = RMSNorm(name='norm')(x).reshape(-1, height * width, channels)
    y = SelfAttention(config, name='space')(y, angles=angles)
    x = x + y.reshape(x.shape)
    x = switched(self, TimeAttention(config, name='time'), x, time, True)
    if text is not None:
      y = RMSNorm(name='cross_norm')(x)
      y = y.reshape(batch, length, height * width, channels)
      y = CrossAttention(config, name='cross')(y, text, text_mask)
      x = x + y.reshape(x.shape)
    if memory is not None:
      y = RMSNorm(name='memory_norm')(x)
      y = y.reshape(batch, length, height * width, channels)
      y = read_memory(y, memory, config)
      x = x + y.reshape(x.shape)
    if not self.mlp_ratio:
      return x
    mlp = MLP(self.mlp_ratio * channels, dtype=self.dtype, name='mlp')
    return x + mlp(RMSNorm(name='mlp_norm')(x))
