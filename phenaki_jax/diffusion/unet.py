"""A small space-time U-Net (Make-A-Video, arXiv 2209.14792, section 3.2).

Its stages halve the rows and columns and keep the frames. Every port starts
without effect: the canvas by kernels of zeros, the noise level and the scalars
by adaptive norms whose scales and shifts are zero, texts and frames by
attention whose output is zero. A port that is added to a trained network
therefore leaves its outputs unchanged.
"""

import dataclasses
import itertools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from phenaki_jax.diffusion.conditions import Conditions
from phenaki_jax.diffusion.config import DiffusionConfig
from phenaki_jax.diffusion.pseudo3d import (
  PseudoConv,
  SpaceConv,
  SpaceTimeAttention,
)
from phenaki_jax.nn.blocks import REMAT_POLICIES
from phenaki_jax.nn.conditions import Conditions as PortConditions
from phenaki_jax.nn.conditions import Entries
from phenaki_jax.nn.config import TransformerConfig
from phenaki_jax.nn.layers import Dense, RMSNorm
from phenaki_jax.nn.ports import CanvasPort, Memory, MemoryPort, ScalarPort
from phenaki_jax.nn.positions import absolute_features
from phenaki_jax.nn.story_encoder import StoryEncoder
from phenaki_jax.sharding import constrain

_FREQUENCIES = np.pi * 2.0 ** np.arange(9)
NUM_FEATURES = 2 * len(_FREQUENCIES) + 1
"""Width of the features of a scalar."""


def scalar_features(x: Float[Array, 'B']) -> Float[Array, 'B features']:
  """Return the sines and cosines of numbers near [0, 1], and the numbers."""
  shape = (x.shape[0], len(_FREQUENCIES))
  angles = jnp.broadcast_to(x[:, None], shape) * jnp.broadcast_to(
    jnp.asarray(_FREQUENCIES, jnp.float32), shape
  )
  return jnp.concatenate([jnp.sin(angles), jnp.cos(angles), x[:, None]], -1)


class AdaptiveNorm(nn.Module):
  """An RMS norm with the scale and shift that a vector gives, at first none."""

  dtype: str = 'float32'

  @nn.compact
  def __call__(
    self, x: Float[Array, 'B T H W D'], condition: Float[Array, 'B width']
  ) -> Float[Array, 'B T H W D']:
    """Return the normalised input."""
    x = RMSNorm(name='norm')(x)
    made = Dense(
      2 * x.shape[-1],
      ('embed', 'mlp'),
      use_bias=True,
      kernel_init=nn.initializers.zeros,
      dtype=jnp.dtype(self.dtype),
      name='adapt',
    )(condition)
    scale, shift = (
      jnp.broadcast_to(part[:, None, None, None], x.shape)
      for part in jnp.split(made, 2, -1)
    )
    return x * (1 + scale) + shift


class ResidualBlock(nn.Module):
  """Two pseudo-3-D convolutions; the second is zero at initialisation."""

  features: int
  dtype: str = 'float32'

  @nn.compact
  def __call__(
    self,
    x: Float[Array, 'B T H W I'],
    condition: Float[Array, 'B width'],
    time: Bool[Array, 'B'] | None,
  ) -> Float[Array, 'B T H W O']:
    """Return the output of the block."""
    dtype = jnp.dtype(self.dtype)
    y = nn.silu(AdaptiveNorm(self.dtype, name='norm_in')(x, condition))
    y = PseudoConv(self.features, dtype=dtype, name='conv_in')(y, time)
    y = nn.silu(AdaptiveNorm(self.dtype, name='norm_out')(y, condition))
    zeros = nn.initializers.zeros
    out = PseudoConv(self.features, zeros, dtype=dtype, name='conv_out')
    y = out(y, time)
    if x.shape[-1] != self.features:
      names = ('embed', 'mlp')
      x = Dense(self.features, names, dtype=dtype, name='shortcut')(x)
    return x + y


class UNet(nn.Module):
  """Predict the noise or the velocity in noisy clips."""

  config: DiffusionConfig

  @nn.compact
  def __call__(
    self,
    x: Float[Array, 'B T H W C'],
    level: Float[Array, 'B'],
    given: Conditions,
  ) -> Float[Array, 'B T H W C']:
    """Return a prediction of the shape of the clips, at first zero.

    Args:
      x: noisy clips, whose rows and columns `config.divisor` divides.
      level: their noise level, in [0, 1].
      given: what else the network reads.
    """
    config, time = self.config, given.time
    dtype = jnp.dtype(config.dtype)
    condition = self._condition(level, given)
    canvas = given.canvas
    if canvas is None:
      canvas = jnp.zeros((*x.shape[:-1], config.canvas_channels))
    if not self.is_initializing():
      x = constrain(x, 'batch', 'frames', None, None, None)
    first = {'features': config.widths[0], 'names': (None, 'mlp')}
    h = PseudoConv(**first, dtype=dtype, name='input')(
      to_patches(x, config.patch), time
    )
    h = h + SpaceConv(
      **first,
      kernel_init=nn.initializers.zeros,
      use_bias=False,
      dtype=dtype,
      name='canvas',
    )(to_patches(canvas, config.patch))
    ports = given.ports or PortConditions()
    if ports.canvas is not None:
      assert config.ports.patch, 'resolving the experiment sets it'
      port = CanvasPort(
        config.widths[0], config.ports.patch, dtype, name='pixels'
      )
      h = h + port(ports.canvas)
    memory = self._memory(ports.memory, x.shape[2:4]) if ports.memory else None
    attended = itertools.count(1)

    block_type: Any = ResidualBlock
    attention_type: Any = SpaceTimeAttention
    if config.remat != 'none':
      policy = REMAT_POLICIES[config.remat]
      block_type = nn.remat(ResidualBlock, policy=policy)
      attention_type = nn.remat(SpaceTimeAttention, policy=policy)

    def blocks(h: Array, stage: int, name: str) -> Array:
      block = block_type(config.widths[stage], config.dtype, name=name)
      h = block(h, condition, time)
      if stage < len(config.widths) - config.attention:
        return h
      attention = attention_type(
        config.head_dim, dtype, config.mlp_ratio, name=f'{name}_attention'
      )
      text = given.text if config.reads_text else None
      is_reader = next(attended) % config.ports.memory_every == 0
      own = memory if is_reader else None
      return attention(h, time, text, given.text_mask, own)

    kept = []
    stages = range(len(config.widths))
    for stage in stages:
      if stage:
        h = _halved(h)
      for number in range(config.blocks):
        h = blocks(h, stage, f'down_{stage}_{number}')
        kept.append(h)
    history = ports.memory.get('history')
    if config.ports.story and history is not None and given.text is not None:
      story = self._story(history, given)
      h = h + story[:, :, None, None].astype(h.dtype)
    h = blocks(h, stages[-1], 'middle')
    for stage in reversed(stages):
      for number in range(config.blocks):
        h = jnp.concatenate([h, kept.pop()], -1)
        h = blocks(h, stage, f'up_{stage}_{number}')
      if stage:
        h = _doubled(h)
    h = nn.silu(RMSNorm(name='norm_out')(h))
    h = PseudoConv(
      config.patch**2 * x.shape[-1],
      nn.initializers.zeros,
      ('embed', None),
      name='output',
    )(h.astype(jnp.float32), time)
    return from_patches(h, config.patch)

  def _condition(
    self, level: Float[Array, 'B'], given: Conditions
  ) -> Float[Array, 'B width']:
    """Return the vector of the noise level and the scalars."""
    config = self.config
    if set(given.scalars) != set(config.scalars):
      raise ValueError(f'{set(given.scalars)}, but {config.scalars} are read')
    width, names = config.condition_width, (None, 'embed')
    vector = Dense(width, names, use_bias=True, hidden=False, name='level')(
      scalar_features(level)
    )
    for name in config.scalars:
      vector += Dense(
        width,
        names,
        kernel_init=nn.initializers.zeros,
        hidden=False,
        name=f'scalar_{name}',
      )(scalar_features(given.scalars[name]))
    ports = given.ports.scalars if given.ports else {}
    if ports:
      vector += Dense(
        width,
        names,
        kernel_init=nn.initializers.zeros,
        hidden=False,
        name='port_scalars',
      )(ScalarPort(config.ports.scalars, name='scalars')(ports))
    return nn.silu(vector)

  def _memory(
    self, memory: dict[str, Entries], size: tuple[int, ...]
  ) -> Memory:
    """Make the memory of images of the size of the values.

    Content is without its places: what is in an image, and not where.
    """
    config = self.config
    width, names = config.widths[-1], (None, 'embed')
    grid = (1, size[0] // config.divisor, size[1] // config.divisor)
    embed = Dense(width, names, hidden=False, name='memory_images')
    place = Dense(width, names, hidden=False, name='memory_places')(
      jnp.asarray(absolute_features(*grid))
    ).reshape(1, 1, -1, width)

    def vectors(role: str, entries: Entries) -> Entries:
      values = embed(entries.values)
      if role != 'content':
        values = values + jnp.broadcast_to(place, values.shape)
      return dataclasses.replace(entries, values=values)

    given = {role: vectors(role, entries) for role, entries in memory.items()}
    ports = config.ports
    port = MemoryPort(ports.memory, ports.memory_slots, name='memory')
    return port(given)

  def _story(
    self, history: Entries, given: Conditions
  ) -> Float[Array, 'B T D']:
    """Return vectors of the story for the positions of the coarsest stage."""
    width = self.config.widths[-1]
    shape = TransformerConfig(
      width=width,
      num_heads=width // self.config.head_dim,
      mlp_dim=4 * width,
      dtype=self.config.dtype,
    )
    encoder = StoryEncoder(shape, self.config.ports.memory_slots, name='story')
    # The vectors of a prompt stand before the caption, and are none of it.
    text, mask, start = given.text, given.text_mask, self.config.prompt
    assert text is not None and mask is not None, 'the caller has checked it'
    return encoder(history, text[:, start:], mask[:, start:])


def to_patches(
  x: Float[Array, 'B T H W C'], side: int
) -> Float[Array, 'B T h w P']:
  """Put the pixels of squares into channels."""
  batch, length, height, width, channels = x.shape
  h, w = height // side, width // side
  x = x.reshape(batch, length, h, side, w, side, channels)
  x = x.transpose(0, 1, 2, 4, 3, 5, 6)
  return x.reshape(batch, length, h, w, side * side * channels)


def image_vectors(
  x: Float[Array, 'N H W C'], config: DiffusionConfig
) -> Float[Array, 'N n P']:
  """Return the values of images as vectors of the memory: those of squares.

  A square is a position of the coarsest stage.
  """
  patches = to_patches(x[:, None], config.divisor)
  return patches.reshape(x.shape[0], -1, config.image_width)


def from_patches(
  x: Float[Array, 'B T h w P'], side: int
) -> Float[Array, 'B T H W C']:
  """Undo `to_patches`."""
  batch, length, h, w, size = x.shape
  x = x.reshape(batch, length, h, w, side, side, size // side**2)
  x = x.transpose(0, 1, 2, 4, 3, 5, 6)
  return x.reshape(batch, length, h * side, w * side, size // side**2)


def _halved(x: Float[Array, 'B T H W D']) -> Float[Array, 'B T h w D']:
  """Average squares of 2 x 2."""
  batch, length, height, width, channels = x.shape
  x = x.reshape(batch, length, height // 2, 2, width // 2, 2, channels)
  return x.mean((3, 5))


def _doubled(
  x: Float[Array, 'B T H W D'],
) -> Float[Array, 'B T rows columns D']:
  """Repeat each position in a square of 2 x 2."""
  return jnp.repeat(jnp.repeat(x, 2, axis=2), 2, axis=3)
