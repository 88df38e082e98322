"""Edits of images and clips: a part of the pixels is known, the rest is made.

The known pixels are encoded, the tokens that hold nothing but known pixels stay
as they are, and the other tokens are sampled. The result has the known pixels
themselves, bit for bit, and decoded pixels elsewhere. Every task of training
(`masked_transformer.tasks`) is one shape of this mask; a generator that was
trained on that task does it best.

A generator with a canvas sees the known pixels there. Tokens are then known of
leading frames alone, which are known whole: the tokenizer is causal and attends
within a frame, so that all other tokens also depend on unknown pixels. Without
a canvas the tokens of known pixels still depend on what stands in the unknown
ones: copies of known pixels do.

A clip is made in the structure of another one from its depth alone, without its
pixels (Gen-1, arXiv 2302.03011); an image or the prompt says what it shows.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from phenaki_jax.errors import UserError
from phenaki_jax.sampling.clip_sampler import ClipSampler
from phenaki_jax.sampling.conditions import (
  of_pixels,
  with_depth,
  with_images,
)
from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.sampling.still_first import StillFirst
from phenaki_jax.stories.seeds import window_seed
from phenaki_jax.types import ImageU8, VideoU8

MAX_FRAMES = 2000

Frames: TypeAlias = UInt8[np.ndarray, '_ _ _ 3']
"""Frames whose number or size differs from that of the arguments."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Structure:
  """Where things are in a clip.

  Attributes:
    depth: relative inverse depth, 0 to 1, near is large.
    level: how far it is blurred, 0 to 7; 0 keeps shapes exactly.
    frames: the clip itself, if the result is to start from its noise.
  """

  depth: Float[np.ndarray, 'T H W']
  level: int = 0
  frames: VideoU8 | None = None

  def part(self, start: int, stop: int, length: int) -> 'Structure':
    """Return that of some of the frames, of which the last is repeated."""
    depth = _padded(self.depth[start:stop], length)
    frames = self.frames
    if frames is not None:
      frames = _padded(frames[start:stop], length)
    return dataclasses.replace(self, depth=depth, frames=frames)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Brush:
  """How unknown pixels are made.

  Attributes:
    sampler: the model.
    prompt: text of the result.
    settings: how to sample.
    seed: 0 to 2**32 - 1.
    context_frames: known frames that a later window sees, 1 + k * tubelet.
    fps: frames per second of the result; see `Sampler.uncover`.
    content: an image of what the result shows, as tokens or vectors (see
      `content_of`); None: the prompt alone tells it.
    on_frames: called with the number of finished frames since the last call.
  """

  sampler: ClipSampler | StillFirst
  prompt: str
  settings: SamplingSettings
  seed: int = 0
  context_frames: int = 5
  fps: float | None = None
  content: np.ndarray | None = None
  on_frames: Callable[[int], object] = lambda count: None

  def complete(
    self,
    frames: VideoU8,
    known: Bool[np.ndarray, 'T H W'],
    window: int = 0,
    structure: Structure | None = None,
  ) -> VideoU8:
    """Make the unknown pixels of a clip of any length, window by window.

    A window is a clip of the model. All but the first see the last frames of
    the result before them. Frames that are known whole are copied.

    Args:
      frames: the clip; unknown pixels hold what stands in for them.
      known: True at known pixels.
      window: number of the first window, which its seed depends on.
      structure: of the clip.

    Raises:
      UserError: the size does not fit the tokenizer, or the clip is too long.
    """
    total, length = len(frames), self.sampler.clip_frames
    if total > MAX_FRAMES:
      raise UserError(
        f'the clip has {total} frames; an edit has at most {MAX_FRAMES}'
      )
    result, known = frames.copy(), known.copy()
    while not known.all():
      first = int(np.argmin(known.all((1, 2))))
      seen = min(first, self.context_frames)
      start = first - self._whole(seen) if seen else 0
      stop = min(start + length, total)
      part = _padded(result[start:stop], length)
      is_known = _padded(known[start:stop], length)
      # What follows the end is not asked for, and tells the model nothing.
      is_known[stop - start :] = False
      own = structure and structure.part(start, stop, length)
      made = self.complete_clip(part, is_known, window, own)
      result[start:stop] = made[: stop - start]
      known[start:stop] = True
      self.on_frames(stop - first)
      window += 1
    return result

  def complete_clip(
    self,
    frames: VideoU8,
    known: Bool[np.ndarray, 'T H W'],
    window: int,
    structure: Structure | None = None,
  ) -> VideoU8:
    """Make the unknown pixels of one clip of the model's length."""
    sampler, models = self.sampler, self.sampler.models
    models.tokenizer.grid(len(frames), frames.shape[1:3])  # Checks the size.
    conditions = of_pixels(models.ports, frames[None], known[None])
    ids = sampler.encode(frames[None])
    tubelet, *patch = models.cell
    held = known_tokens(known, (patch[0], patch[1]), tubelet)
    if conditions is not None and patch != [1, 1]:
      # The leading latent frames that are known whole.
      held &= np.logical_and.accumulate(held.all((1, 2)))[:, None, None]
    if structure is not None:
      assert conditions is not None, '`restyle` checks that there is a canvas'
      conditions = with_depth(
        conditions,
        structure.depth[None],
        structure.level,
        # A model of exact depth alone reads no level.
        is_told='level' in models.ports.scalars,
      )
    options: dict[str, Any] = {}
    if structure is not None and structure.frames is not None:
      assert models.kind == 'diffusion', '`restyle` checks it'
      diffusion: Any = sampler
      options['noise'] = diffusion.invert(
        sampler.encode(structure.frames[None]),
        steps=self.settings.steps,
        conditions=conditions,
        fps=self.fps,
      )
    if self.content is not None:
      conditions = with_images(
        conditions,
        self.content[None],
        batch=1,
        latent_frames=ids.shape[1],
        role='content',
      )
    made = sampler.completed(
      [self.prompt],
      ids=ids,
      known=held[None],
      seeds=[window_seed(self.seed, 0, window)],
      settings=self.settings,
      conditions=conditions,
      fps=self.fps,
      **options,
    )
    return np.where(known[..., None], frames, sampler.decode(made)[0])

  @property
  def _has_canvas(self) -> bool:
    """Return whether the model reads any frames that are known."""
    is_pixels = self.sampler.models.cell == (1, 1, 1)
    return is_pixels or self.sampler.models.ports.canvas

  def _whole(self, frames: int) -> int:
    """Return the largest 1 + k * tubelet that is at most `frames`."""
    tubelet = self.sampler.models.tokenizer.tubelet
    return 1 + (frames - 1) // tubelet * tubelet

  def continue_(self, frames: VideoU8, count: int) -> Frames:
    """Append new frames to an image (one frame) or a clip."""
    longer = _padded(frames, len(frames) + count)
    known = np.zeros(longer.shape[:3], bool)
    known[: len(frames)] = True
    return self.complete(longer, known)

  def interpolate(self, frames: VideoU8, between: int) -> Frames:
    """Make frames between each two consecutive frames.

    Each pair is one clip: the first frame, the new ones, and the second one
    until the end, whose tokens are known where they hold it alone. Patches that
    do not change from the first to the second are known in between too. On a
    canvas, a clip has as many of the frames as have room, and what is between
    them is open.

    Args:
      frames: at least two.
      between: new frames in each gap.

    Raises:
      UserError: there is one frame, or a gap is longer than a clip.
    """
    length = self.sampler.clip_frames
    has_canvas = self._has_canvas
    most = length - 2
    if not has_canvas:
      most = length - 1 - self.sampler.models.tokenizer.tubelet
    if len(frames) < 2:
      raise UserError('there is one frame; give two or more, or a clip')
    if not 1 <= between <= most:
      raise UserError(
        f'{between} new frames between two; a clip of the model has room for 1 '
        f'to {most}'
      )
    if has_canvas:
      return self._between(frames, between + 1)
    patch = self.sampler.models.tokenizer.patch
    result = [frames[:1]]
    for number in range(len(frames) - 1):
      first, second = frames[number], frames[number + 1]
      share = np.minimum(np.arange(length) / (between + 1), 1.0)
      share = share[:, None, None, None]
      part = np.round(first * (1 - share) + second * share).astype(np.uint8)
      is_known = np.zeros(part.shape[:3], bool)
      is_known[0], is_known[between + 1 :] = True, True
      is_known |= same_patches(first, second, patch)
      made = self.complete_clip(part, is_known, number)
      result.append(made[1 : between + 2])
      self.on_frames(between + 1)
    return np.concatenate(result)

  def _between(self, frames: VideoU8, step: int) -> Frames:
    """Make a clip in which every `step`-th frame is a given one."""
    last, length = (len(frames) - 1) * step, self.sampler.clip_frames
    result = np.repeat(frames, step, axis=0)[: last + 1]
    known = np.zeros(result.shape[:3], bool)
    known[::step] = True
    # A window ends with a given frame, with which the next one begins.
    stride = (length - 1) // step * step
    for window, start in enumerate(range(0, last, stride)):
      stop = min(start + stride, last) + 1
      part = _padded(result[start:stop], length)
      is_known = _padded(known[start:stop], length)
      is_known[stop - start :] = False
      made = self.complete_clip(part, is_known, window)
      result[start:stop] = made[: stop - start]
      self.on_frames(stop - 1 - start)
    return result

  def fill(self, frames: VideoU8, box: tuple[int, int, int, int]) -> VideoU8:
    """Make the pixels of a box anew.

    Args:
      frames: the clip.
      box: left, top, right and bottom in pixels; the last two are excluded.

    Raises:
      UserError: the box is empty or not inside the frames.
    """
    return self.complete(frames, outside(box, frames.shape[:3]))

  def restyle(
    self,
    frames: VideoU8,
    structure: Structure,
    unknown: Bool[np.ndarray, 'T H W'] | None = None,
  ) -> VideoU8:
    """Make a clip anew in the structure of another one.

    Args:
      frames: the clip.
      structure: of all its frames.
      unknown: True at pixels that are made anew; None: all.

    Raises:
      UserError: the model reads no depth, or not how far it is blurred; or it
        has no noise to start from.
    """
    ports, kind = self.sampler.models.ports, self.sampler.models.kind
    if structure.frames is not None and kind != 'diffusion':
      raise UserError(
        '--invert starts from the noise of the clip, which only a diffusion '
        'model has; leave it out, or name one with --model'
      )
    if not ports.canvas or (structure.level and 'level' not in ports.scalars):
      raise UserError(
        'the model reads no depth; use one that was trained with --set '
        f'{kind}.ports.canvas=True --set {kind}.ports.scalars=level and a '
        'share task.structure_share'
      )
    if unknown is None:
      unknown = np.ones(frames.shape[:3], bool)
    # Nothing is known of the pixels that are made anew.
    shown = np.where(unknown[..., None], 0, frames).astype(np.uint8)
    return self.complete(shown, ~unknown, structure=structure)

  def vary(self, frames: VideoU8) -> VideoU8:
    """Make a clip of the content, as long and as large as another one.

    Nothing is known of its frames (video variation of Make-A-Video, arXiv
    2209.14792).
    """
    return self.complete(
      np.zeros_like(frames), np.zeros(frames.shape[:3], bool)
    )

  def extend(
    self, frames: VideoU8, margins: tuple[int, int, int, int]
  ) -> Frames:
    """Add new pixels around a clip.

    Args:
      frames: the clip.
      margins: new pixels on the left, at the top, right and bottom.

    Raises:
      UserError: a margin is negative, or the new size does not fit.
    """
    left, top, right, bottom = margins
    if min(margins) < 0 or not any(margins):
      raise UserError(
        f'the margins are {margins}; give left,top,right,bottom, at least 0 '
        'and not all 0'
      )
    sides = ((0, 0), (top, bottom), (left, right))
    known = np.pad(np.ones(frames.shape[:3], bool), sides)
    return self.complete(np.pad(frames, (*sides, (0, 0)), mode='edge'), known)


def content_of(
  sampler: ClipSampler | StillFirst, image: ImageU8
) -> Int[np.ndarray, 'h w'] | Float[np.ndarray, 'n D']:
  """Return an image of what a clip is to show, as tokens or vectors.

  Raises:
    UserError: the model reads none.
  """
  models = sampler.models
  if 'content' not in models.ports.memory:
    raise UserError(
      'the model reads no image of the content; use one that was trained with '
      f'--set {models.kind}.ports.memory=content and a share '
      'task.content_share, '
      'or restyle by a text'
    )
  return sampler.image(image[None])[0]


def outside(
  box: tuple[int, int, int, int], shape: tuple[int, ...]
) -> Bool[np.ndarray, 'T H W']:
  """Return the pixels outside a box: left, top, right and bottom.

  Raises:
    UserError: the box is empty or not inside the frames.
  """
  left, top, right, bottom = box
  height, width = shape[1:]
  if not (0 <= left < right <= width and 0 <= top < bottom <= height):
    raise UserError(
      f'the box {box} is not inside frames of {width}x{height} pixels; give '
      'left,top,right,bottom'
    )
  known = np.ones(shape, bool)
  known[:, top:bottom, left:right] = False
  return known


def known_tokens(
  known: Bool[np.ndarray, 'T H W'], patch: tuple[int, int], tubelet: int
) -> Bool[np.ndarray, 't h w']:
  """Return the tokens of which all pixels are known.

  Args:
    known: True at known pixels; T is 1 + k * tubelet.
    patch: height and width of a patch, which divide those of the frames.
    tubelet: frames per latent frame, after the first.
  """
  rows, columns = patch
  frames, height, width = known.shape
  blocks = known.reshape(
    frames, height // rows, rows, width // columns, columns
  )
  patches = np.asarray(blocks.all((2, 4)))
  later = patches[1:].reshape(-1, tubelet, *patches.shape[1:]).all(1)
  return np.concatenate([patches[:1], later])


def same_patches(
  one: ImageU8, other: ImageU8, patch: tuple[int, int]
) -> Bool[np.ndarray, 'H W']:
  """Return the pixels of the patches that are equal in two frames."""
  equal = np.asarray((one == other).all(-1))
  whole = known_tokens(equal[None], patch, 1)[0]
  return whole.repeat(patch[0], 0).repeat(patch[1], 1)


def _padded(array: np.ndarray, length: int) -> np.ndarray:
  """Repeat the last entry of an array up to a length."""
  sides = [(0, length - len(array))] + [(0, 0)] * (array.ndim - 1)
  return np.pad(array, sides, mode='edge')
