"""Tasks of a generator with a canvas: which pixels of a clip are known.

Known pixels are shown on the canvas, and not as tokens: C-ViViT is causal, so
that the tokens of a late frame depend on all frames before it, and those of a
frame depend on the pixels of all its places. Only the tokens of a known prefix
are exact. They are shown as well, but not always, so that the canvas is read.
"""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import no_type_check

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from phenaki_jax.masked_transformer.masking import prefix_mask
from phenaki_jax.masked_transformer.tasks import Clips, chosen_by
from phenaki_jax.nn.conditions import ABSENT
from phenaki_jax.rng import stream

# Share of the clips whose exact tokens are shown beside the canvas. A model
# that always sees them does not learn to read the canvas.
CLAMPED_SHARE = 0.7
# An enlarged canvas was smaller by 2 to the power of one of these levels.
LEVELS = (1, 2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CanvasClips:
  """The clips whose known pixels are wanted.

  Attributes:
    clips: their latent frames.
    num_frames: frames of each clip that are not padding.
    shape: frames, height and width.
    tubelet: frames of a latent frame after the first.
  """

  clips: Clips
  num_frames: Int[Array, 'B']
  shape: tuple[int, int, int]
  tubelet: int

  def drawn(self, name: str) -> Float[Array, 'B']:
    """Draw a number in [0, 1) for each clip."""
    key: Key[Array, ''] = stream(self.clips.key, name)
    return jax.random.uniform(key, self.num_frames.shape, jnp.float32)


# No type checks: JAX also builds it around leaves that are not arrays.
@no_type_check
@flax.struct.dataclass
class Shown:
  """What is known of clips.

  Attributes:
    pixels: True at known pixels.
    prefix: leading latent frames whose tokens are exact.
    level: how much smaller the canvas was, as a power of two, before it was
      enlarged; `ABSENT` for exact pixels.
  """

  pixels: Bool[Array, 'B T H W']
  prefix: Int[Array, 'B']
  level: Float[Array, 'B']


def _frames(
  clips: CanvasClips, known: Bool[Array, 'B T'], prefix: Array
) -> Shown:
  """Return whole frames as what is known."""
  _, height, width = clips.shape
  pixels = jnp.broadcast_to(
    known[:, :, None, None], (*known.shape, height, width)
  )
  return Shown(pixels=pixels, prefix=prefix, level=jnp.full(len(known), ABSENT))


def _index(clips: CanvasClips) -> Int[Array, '1 T']:
  return jnp.arange(clips.shape[0])[None]


def _nothing(clips: CanvasClips) -> Shown:
  """Nothing is known."""
  none = jnp.zeros_like(clips.num_frames)
  return _frames(clips, _index(clips) < none[:, None], none)


def _animation(clips: CanvasClips) -> Shown:
  """The first frame is known."""
  one = jnp.ones_like(clips.num_frames)
  return _frames(clips, _index(clips) < one[:, None], one)


def _continuation(clips: CanvasClips) -> Shown:
  """A prefix of any length is known, at least one latent frame is not."""
  most = jnp.maximum(clips.clips.num_latent - 1, 1)
  prefix = 1 + jnp.floor(clips.drawn('canvas_prefix') * most).astype(jnp.int32)
  prefix = jnp.minimum(prefix, most)
  frames = 1 + (prefix - 1) * clips.tubelet
  return _frames(clips, _index(clips) < frames[:, None], prefix)


def _interpolation(clips: CanvasClips) -> Shown:
  """Every m-th frame is known, m from 2 to the distance of first and last."""
  most = jnp.maximum(clips.num_frames - 1, 2)
  skip = 2 + jnp.floor(clips.drawn('canvas_skip') * (most - 1)).astype(
    jnp.int32
  )
  skip = jnp.minimum(skip, most)
  known = _index(clips) % skip[:, None] == 0
  return _frames(clips, known, jnp.ones_like(clips.num_frames))


def _region(clips: CanvasClips) -> Shown:
  """All but a box of half the rows and columns is known, in all frames."""
  inside = []
  for axis, side in zip(('rows', 'columns'), clips.shape[1:], strict=True):
    extent = (side + 1) // 2
    room = side - extent + 1
    start = jnp.floor(clips.drawn(f'canvas_{axis}') * room).astype(jnp.int32)
    index = jnp.arange(side)[None]
    inside.append(
      (index >= start[:, None]) & (index < (start + extent)[:, None])
    )
  box = inside[0][:, :, None] & inside[1][:, None, :]
  shown = _nothing(clips)
  # No token is exact: the tokenizer attends within a frame.
  return dataclasses.replace(
    shown, pixels=jnp.broadcast_to(~box[:, None], shown.pixels.shape)
  )


def _enlarged(clips: CanvasClips) -> Shown:
  """All is known, from a smaller clip that was enlarged."""
  drawn = clips.drawn('canvas_level') * len(LEVELS)
  shown = _nothing(clips)
  return dataclasses.replace(
    shown,
    pixels=jnp.ones_like(shown.pixels),
    level=jnp.asarray(LEVELS, jnp.float32)[drawn.astype(jnp.int32)],
  )


CANVAS_TASKS: Mapping[str, Callable[[CanvasClips], Shown]] = MappingProxyType(
  {
    'animation': _animation,
    'continuation': _continuation,
    'interpolation': _interpolation,
    'region': _region,
    'enlarged': _enlarged,
  }
)


def draw_shown(
  clips: CanvasClips, shares: Mapping[str, float], *, below: float
) -> tuple[Bool[Array, 'B'], Shown]:
  """Draw which clips have a task of the canvas, and what it shows of them.

  Args:
    clips: the clips.
    shares: share of the clips of each task.
    below: sum of the shares of the tasks of `masked_transformer.tasks`, to
      which the other clips belong.

  Returns:
    Which clips have such a task, and what they show; of others nothing. What
    is shown never includes padding.
  """
  shown = _nothing(clips)
  any_task = jnp.zeros_like(clips.num_frames, bool)
  for name, share in shares.items():
    if share:
      chosen = chosen_by(clips.clips, below, share)
      any_task |= chosen
      found = CANVAS_TASKS[name](clips)
      shown = jax.tree.map(
        lambda new, old, chosen=chosen: jnp.where(
          chosen.reshape(-1, *[1] * (new.ndim - 1)), new, old
        ),
        found,
        shown,
      )
    below += share
  is_real = _index(clips) < clips.num_frames[:, None]
  is_clamped = clips.drawn('canvas_clamped') < CLAMPED_SHARE
  return any_task, dataclasses.replace(
    shown,
    pixels=shown.pixels & is_real[:, :, None, None],
    prefix=jnp.where(is_clamped, shown.prefix, 0),
  )


def shown_tokens(clips: CanvasClips, shown: Shown) -> Bool[Array, 'B N']:
  """Return the tokens that are shown, of which at least one frame is not."""
  most = clips.clips.num_latent - 1
  return prefix_mask(jnp.minimum(shown.prefix, most), clips.clips.grid)
