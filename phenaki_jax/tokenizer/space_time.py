"""The encoder and the decoder of a C-ViViT: attention over space and time."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phenaki_jax.nn.blocks import Stack
from phenaki_jax.nn.layers import Dense, RMSNorm
from phenaki_jax.nn.positions import (
  absolute_features,
  grid_coordinates,
  rotary_angles,
)
from phenaki_jax.sharding import constrain
from phenaki_jax.tokenizer.config import TokenizerConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Span:
  """Consecutive latent frames of a clip, as one call of a stack sees them.

  The arrays are computed on the host, so that one compiled call serves chunks
  at any place of a long clip.

  Attributes:
    place: features of each position, [t * h * w, features].
    angles: rotary angles of each latent frame, [t, pairs].
    mask: True where a latent frame attends to another, [t, remembered + t].
    remembered: number of latent frames before these in the cache.
  """

  place: Array
  angles: Array
  mask: Array
  remembered: int = 0


jax.tree_util.register_dataclass(
  Span, data_fields=['place', 'angles', 'mask'], meta_fields=['remembered']
)


def make_span(
  config: TokenizerConfig,
  grid: tuple[int, int, int],
  *,
  start: int = 0,
  remembered: int = 0,
) -> Span:
  """Describe latent frames of a clip.

  Args:
    config: the tokenizer's shape.
    grid: numbers of latent frames, rows and columns.
    start: index of the first of the latent frames in the clip.
    remembered: number of latent frames in the cache.
  """
  t, h, w = grid
  frames = np.arange(start, start + t)
  seen = np.arange(start - remembered, start + t)
  past = frames[:, None] - seen[None]
  mask = (past >= 0) & (seen >= 0)
  if config.temporal_window is not None:
    mask &= past < config.temporal_window
  return Span(
    # A repeated first frame is embedded and decoded like all others. Without
    # the time in its features, what is learned from images holds for every
    # latent frame.
    place=jnp.asarray(
      absolute_features(
        t, h, w, time=config.first_frame == 'apart', start=start
      )
    ),
    angles=jnp.asarray(rotary_angles(frames[:, None], config.head_dim)),
    mask=jnp.asarray(mask),
    remembered=remembered,
  )


class SpaceTime(nn.Module):
  """Attention within each latent frame, and causal attention over time.

  Attributes:
    config: the tokenizer's sizes.
    spatial_layers: blocks within a latent frame.
    time_first: apply the temporal stack first, as the decoder does.
    position_features: add learned features of each patch's position.
  """

  config: TokenizerConfig
  spatial_layers: int
  time_first: bool = False
  position_features: bool = True

  @nn.compact
  def __call__(
    self, x: Float[Array, 'B t h w D'], span: Span | None = None
  ) -> Float[Array, 'B t h w D']:
    """Apply both stacks, then a norm.

    Args:
      x: the latent frames.
      span: where they are in their clip; a whole clip by default.
    """
    config = self.config
    batch, t, h, w, width = x.shape
    seen = make_span(config, (t, h, w)) if span is None else span
    if self.position_features:
      place = Dense(width, (None, 'embed'), hidden=False, name='place')
      added = place(seen.place).reshape(1, t, h, w, width)
      # In the dtype of the computation; the sum would be float32 otherwise.
      x = x + added.astype(x.dtype)
    if not self.is_initializing():
      x = constrain(x, 'batch', 'frames', None, None, None)
    grid = grid_coordinates(1, h, w)
    space = Stack(config, self.spatial_layers, name='space')
    time = Stack(config, config.temporal_layers, name='time')

    def over_space(x: Array) -> Array:
      angles = jnp.asarray(rotary_angles(grid[:, 1:], config.head_dim))
      x = x.reshape(batch * t, h * w, width)
      return space(x, angles=angles).reshape(batch, t, h, w, width)

    def over_time(x: Array) -> Array:
      x = x.transpose(0, 2, 3, 1, 4).reshape(batch * h * w, t, width)
      inputs: dict[str, Any] = {'mask': seen.mask[None], 'angles': seen.angles}
      if seen.remembered:
        inputs['remembered'] = seen.remembered
      x = time(x, **inputs)
      return x.reshape(batch, h, w, t, width).transpose(0, 3, 1, 2, 4)

    if self.time_first:
      x = over_space(over_time(x))
    else:
      x = over_time(over_space(x))
    return RMSNorm(name='norm')(x)
