"""Conditions of training examples, made of their own pixels inside the step."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key, UInt8

from phenaki_jax.masked_transformer.canvas_tasks import (
  LEVELS,
  CanvasClips,
  Shown,
  draw_shown,
  shown_tokens,
)
from phenaki_jax.masked_transformer.tasks import Clips
from phenaki_jax.nn.conditions import ABSENT, Canvas, Conditions
from phenaki_jax.pixels import normalise, to_uint8
from phenaki_jax.rng import stream
from phenaki_jax.training import history
from phenaki_jax.training.generator_config import GeneratorTaskConfig
from phenaki_jax.training.structure import entries, own_frames, with_depth

# Share of the clips whose frame rate is not told, so that it may be left out.
_UNTOLD_SHARE = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Told:
  """What is known of clips.

  Attributes:
    tokens: True at tokens that are shown.
    conditions: what the ports read; None for a generator without ports.
  """

  tokens: Bool[Array, 'B N']
  conditions: Conditions | None


def prepared(
  batch: dict[str, Any],
  training: GeneratorTaskConfig,
  rng: Key[Array, ''],
  *,
  tubelet: int,
) -> dict[str, Any]:
  """Draw the strides of clips, and a frame of each as its source.

  Args:
    batch: see `data.spec`.
    training: how training examples are made.
    rng: random key.
    tubelet: frames of a latent frame after the first.

  Returns:
    The batch. Clips that were strided have fewer frames, and `strides`; their
    source and content are `source_pixels` and `content_pixels`, uint8 [B, H, W,
    3].
  """
  clips = batch.get('clips', {})
  if 'pixels' not in clips:
    return batch
  if training.strides != (1,):
    clips = _strided(clips, training.strides, stream(rng, 'strides'), tubelet)
  for role in training.frame_shares:
    clips = {**clips, **own_frames(clips, role, rng)}
  return {**batch, 'clips': clips}


def _strided(
  clips: dict[str, Any],
  strides: tuple[int, ...],
  key: Key[Array, ''],
  tubelet: int,
) -> dict[str, Any]:
  """Take every k-th frame of each clip without context, with a drawn k."""
  pixels, count = jnp.asarray(clips['pixels']), clips['num_frames']
  drawn = jax.random.randint(key, count.shape, 0, len(strides), jnp.int32)
  stride = jnp.asarray(strides, jnp.int32)[drawn]
  stride = jnp.where(clips['context_frames'] > 0, 1, stride)
  left = (count - 1) // stride
  count = 1 + left // tubelet * tubelet
  index = jnp.arange(pixels.shape[1])[None]
  index = jnp.minimum(index, count[:, None] - 1) * stride[:, None]
  depth = {}
  if 'depth' in clips:
    maps = jnp.asarray(clips['depth'])
    depth['depth'] = jnp.take_along_axis(maps, index[:, :, None, None], 1)
  return {
    **clips,
    **depth,
    'pixels': jnp.take_along_axis(pixels, index[:, :, None, None, None], 1),
    'num_frames': count,
    'strides': stride,
  }


def tell(
  clips: dict[str, Any],
  rng: Key[Array, ''],
  *,
  of_clips: Clips,
  of_task: Bool[Array, 'B N'],
  of_context: Bool[Array, 'B N'],
  training: GeneratorTaskConfig,
  scalars: tuple[str, ...],
  tubelet: int,
  fps: float,
) -> Told:
  """Choose what is known of clips beside their captions.

  Args:
    clips: the clips, after `prepared`, with tokens.
    rng: random key.
    of_clips: their latent frames.
    of_task: tokens that a task without a canvas shows of clips without context.
    of_context: tokens of the context frames.
    training: how training examples are made.
    scalars: names of those that the network reads.
    tubelet: frames of a latent frame after the first.
    fps: frames per second of the clips.
  """
  context = clips['context_frames']
  has_context = context > 0
  conditions: dict[str, Any] = {}
  numbers: dict[str, Array] = {}
  if training.uses_canvas:
    pixels = jnp.asarray(clips['pixels'])
    with_pixels = CanvasClips(
      clips=of_clips,
      num_frames=clips['num_frames'],
      shape=(pixels.shape[1], pixels.shape[2], pixels.shape[3]),
      tubelet=tubelet,
    )
    chosen, shown = draw_shown(
      with_pixels,
      training.canvas_shares,
      below=sum(training.task_shares.values()),
    )
    of_task = jnp.where(
      chosen[:, None], shown_tokens(with_pixels, shown), of_task
    )
    # Of a clip with context, it shows the context.
    index = jnp.arange(pixels.shape[1])[None]
    of_frames = (index < context[:, None]) & chosen[:, None]
    shown = dataclasses.replace(
      shown,
      pixels=jnp.where(
        has_context[:, None, None, None],
        of_frames[:, :, None, None],
        shown.pixels,
      ),
      level=jnp.where(has_context, ABSENT, shown.level),
    )
    conditions['canvas'] = _canvas(pixels, shown, training)
    level = shown.level
    if training.structure_share:
      found = with_depth(conditions['canvas'], level, clips, rng, training)
      conditions['canvas'], level = found.canvas, found.level
    if 'level' in scalars:
      numbers['level'] = level
  if 'fps' in scalars:
    numbers['fps'] = _rates(clips, rng, fps)
  memory = {
    role: entries(
      clips[role],
      jax.random.bernoulli(
        stream(rng, f'{role}_seen'), share, (has_context.shape[0],)
      ),
      of_clips.grid[0],
    )
    for role, share in training.frame_shares.items()
  }
  for role, share in training.scene_shares.items():
    memory[role] = history.entries(
      clips,
      rng,
      share=share,
      latent_frames=of_clips.grid[0],
      role=role,
    )
  if memory:
    conditions['memory'] = memory
  if training.time_off_clips:
    conditions['over_time'] = _switches(
      rng, 'time_off_clips', training.time_off_clips, has_context.shape
    )[:, None].repeat(of_clips.grid[0], 1)
  if numbers:
    conditions['scalars'] = numbers
  return Told(
    tokens=jnp.where(has_context[:, None], of_context, of_task),
    conditions=Conditions(**conditions) if conditions else None,
  )


def switches_of_images(
  training: GeneratorTaskConfig, rng: Key[Array, ''], count: int
) -> Bool[Array, 'B'] | None:
  """Draw for which images the layers over time act; None: for all."""
  if not training.time_off_images:
    return None
  share = training.time_off_images
  return _switches(rng, 'time_off_images', share, (count,))


def _switches(
  rng: Key[Array, ''], name: str, share: float, shape: tuple[int, ...]
) -> Bool[Array, 'B']:
  return ~jax.random.bernoulli(stream(rng, name), share, shape)


def _canvas(
  pixels: UInt8[Array, 'B T H W 3'],
  shown: Shown,
  training: GeneratorTaskConfig,
) -> Canvas:
  """Show known pixels, where asked those of a smaller clip, enlarged."""
  rgb = pixels
  if training.canvas_enlarged_share:
    for level in LEVELS:
      is_level = (shown.level == level).reshape(-1, 1, 1, 1, 1)
      rgb = jnp.where(is_level, enlarged(pixels, 2**level), rgb)
  return Canvas(
    rgb=jnp.where(shown.pixels[..., None], rgb, 0), known=shown.pixels
  )


def enlarged(
  pixels: UInt8[Array, 'B T H W 3'], factor: int
) -> UInt8[Array, 'B T H W 3']:
  """Make frames smaller by a factor, which loses detail, and as large again."""
  batch, frames, height, width, channels = pixels.shape
  small = (batch, frames, -(-height // factor), -(-width // factor), channels)
  low = jax.image.resize(normalise(pixels), small, 'linear')
  return to_uint8(jax.image.resize(low, pixels.shape, 'linear'))


def _rates(
  clips: dict[str, Any], rng: Key[Array, ''], fps: float
) -> Float[Array, 'B']:
  """Return the frames per second of clips, which are not told for some."""
  shape = clips['num_frames'].shape
  rates = jnp.broadcast_to(fps / clips.get('strides', jnp.ones(shape)), shape)
  untold = jax.random.bernoulli(stream(rng, 'untold'), _UNTOLD_SHARE, shape)
  return jnp.where(untold, ABSENT, rates).astype(jnp.float32)
