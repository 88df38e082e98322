"""Structure and content of training clips (Gen-1, arXiv 2302.03011).

Structure is the clip's own depth, on the canvas. Content is one of the clip's
own frames, whose tokens the memory holds without their places, so that it tells
what is in the clip and not where. A clip alone thus teaches to make the content
of one image in the structure of another clip.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from phenaki_jax.masked_transformer.structure import with_structure
from phenaki_jax.nn.conditions import ABSENT, Canvas, Entries, as_values
from phenaki_jax.rng import stream
from phenaki_jax.training.generator_config import GeneratorTaskConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Structured:
  """A canvas with depth, and the level of each clip, `ABSENT` without one."""

  canvas: Canvas
  level: Float[Array, 'B']


def with_depth(
  canvas: Canvas,
  level: Float[Array, 'B'],
  clips: dict[str, Any],
  rng: Key[Array, ''],
  training: GeneratorTaskConfig,
) -> Structured:
  """Show a share of the clips their depth, each blurred to a drawn level.

  Args:
    canvas: known pixels.
    level: how much smaller the known pixels were; clips that have such a level
      have no depth.
    clips: with their depth, uint8 [B, T, H, W], 255 is near.
    rng: random key.
    training: how training examples are made.
  """
  count: Int[Array, 'B'] = clips['num_frames']
  is_shown = jax.random.bernoulli(
    stream(rng, 'structure'), training.structure_share, count.shape
  )
  is_shown &= level == ABSENT
  levels = 1 + training.structure_levels
  drawn = jax.random.randint(
    stream(rng, 'structure_level'), count.shape, 0, levels, jnp.int32
  )
  depth = jnp.asarray(clips['depth']).astype(jnp.float32) / 255.0
  is_real = jnp.arange(depth.shape[1])[None] < count[:, None]
  drawn = drawn.astype(jnp.float32)
  return Structured(
    canvas=with_structure(canvas, depth, drawn, is_real & is_shown[:, None]),
    level=jnp.where(is_shown, drawn, level),
  )


def own_frames(
  clips: dict[str, Any], name: str, rng: Key[Array, '']
) -> dict[str, Any]:
  """Draw a frame of each clip.

  Args:
    clips: of pixels.
    name: of what the frames are for, which also seeds the draw.
    rng: random key.

  Returns:
    The frames by the name of their pixels, uint8 [B, H, W, 3].
  """
  count = clips['num_frames']
  drawn = jax.random.uniform(stream(rng, name), count.shape, jnp.float32)
  index = jnp.minimum((drawn * count).astype(jnp.int32), count - 1)
  found = jnp.take_along_axis(
    jnp.asarray(clips['pixels']), index.reshape(-1, 1, 1, 1, 1), 1
  )
  return {f'{name}_pixels': found[:, 0]}


def entries(
  image: Int[Array, 'B h w'] | Float[Array, 'B n D'],
  is_seen: Bool[Array, 'B'],
  latent_frames: int,
) -> Entries:
  """Return an image as an entry of the memory, of the clips that see it."""
  batch = image.shape[0]
  return Entries(
    values=as_values(image, batch, 1),
    slots=jnp.zeros((batch, 1), jnp.int32),
    visible=jnp.broadcast_to(is_seen[:, None, None], (batch, latent_frames, 1)),
  )
