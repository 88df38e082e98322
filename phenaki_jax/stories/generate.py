"""Generate stories window by window at constant memory (Phenaki, section 2.2).

The first window of a story is one clip of the length that the generator was
trained on. Every later window sees the last K frames: they are encoded again,
their tokens are known, the other tokens are sampled with the prompt of the
current scene, and the K frames are removed from the result. Frames beyond the
end of a scene are removed as well, so the K frames are always frames of the
story. A scene with `cut` starts like the first one, without context frames.

The random seed of a window depends only on the seed of its scene, the number
of the scene and the number of the window in the scene. A new seed for one
scene leaves all earlier scenes unchanged.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from phenaki_jax.errors import UserError
from phenaki_jax.sampling.sampler import SamplingSettings
from phenaki_jax.stories.kept_scenes import KeptScenes
from phenaki_jax.stories.seeds import scene_keys, window_seed
from phenaki_jax.stories.story import Story

Frames: TypeAlias = UInt8[np.ndarray, 'B _ H W 3']
"""Frames of several stories; their number differs between arguments."""


@runtime_checkable
class ClipMaker(Protocol):
  """A model that makes clips of one length, such as `Sampler`."""

  @property
  def clip_frames(self) -> int:
    """Return the length of a clip in frames."""

  def frames_of(self, num_latent: int) -> int:
    """Return the number of frames of a number of latent frames."""

  def clips(
    self,
    prompts: Sequence[str],
    *,
    size: tuple[int, int],
    seeds: Sequence[int],
    settings: SamplingSettings,
    context: np.ndarray | None = None,
  ) -> np.ndarray:
    """Return uint8 [B, T, H, W, 3], which starts with the context frames."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chunk:
  """Consecutive frames of one scene, as they are generated.

  Attributes:
    scene: number of the scene, from 0.
    start: number of the first frame in the scene, from 0.
    frames: one story's frames, or those of a batch of stories.
  """

  scene: int
  start: int
  frames: UInt8[np.ndarray, '*b T H W 3']


def generate(
  maker: ClipMaker,
  story: Story,
  *,
  kept: KeptScenes | None = None,
  origin: Mapping[str, Any] | None = None,
) -> Iterator[Chunk]:
  """Generate one story; yield frames [T, H, W, 3] as soon as they exist.

  At most one window and K frames are in memory.

  Args:
    maker: makes the clips.
    story: a resolved story.
    kept: finished scenes. A scene that is found under its key (see
      `scene_keys`) is read, with the same bits, instead of generated; other
      scenes are added.
    origin: see `scene_keys`; required with `kept`.
  """
  keys = scene_keys(story, origin or {})

  def generate_scene(number: int, tail: Frames | None) -> Iterator[Frames]:
    windows = _windows(maker, [story], number, tail)
    chunks: Iterator[np.ndarray] = (frames[0] for frames in windows)
    if kept is not None:
      assert story.size is not None
      shape = (story.scenes[number].frames or 0, *story.size, 3)
      chunks = kept.through(
        keys[number], shape, chunks, chunk_frames=maker.clip_frames
      )
    return (frames[None] for frames in chunks)

  for chunk in _chunks(story, generate_scene):
    yield dataclasses.replace(chunk, frames=chunk.frames[0])


def generate_batch(
  maker: ClipMaker, stories: Sequence[Story]
) -> Iterator[Chunk]:
  """Generate resolved stories of equal lengths as a batch.

  Each story equals the one generated alone, up to the rounding differences
  of matrix products of another batch size.

  Raises:
    UserError: the stories differ in size, K, lengths, cuts or settings.
  """
  if not stories:
    raise UserError('there is no story to generate; give at least one')
  if any(_timeline(story) != _timeline(stories[0]) for story in stories):
    raise UserError(
      'the stories of a batch must have the same size, context_frames, '
      'lengths, cuts and settings; generate them one by one'
    )
  yield from _chunks(
    stories[0],
    lambda number, tail: _windows(maker, stories, number, tail),
  )


def _timeline(story: Story) -> tuple:
  scenes = [(s.frames, s.cut, story.settings(s)) for s in story.scenes]
  return story.size, story.context_frames, scenes


def _chunks(
  story: Story,
  generate_scene: Callable[[int, Frames | None], Iterator[Frames]],
) -> Iterator[Chunk]:
  """Generate scene after scene, each from the last frames of the previous."""
  tail = None
  for number, scene in enumerate(story.scenes):
    tail = None if scene.cut else tail
    start = 0
    for frames in generate_scene(number, tail):
      tail = _extend(tail, frames, story.context_frames)
      yield Chunk(scene=number, start=start, frames=frames)
      start += frames.shape[1]


def _windows(
  maker: ClipMaker,
  stories: Sequence[Story],
  number: int,
  tail: Frames | None,
) -> Iterator[Frames]:
  """Generate one scene of every story, window by window."""
  scenes = [story.scenes[number] for story in stories]
  size, left = stories[0].size, scenes[0].frames
  assert size is not None and left is not None, 'the story is not resolved'
  window = 0
  while left:
    context = _context(tail, maker)
    frames = maker.clips(
      [scene.prompt for scene in scenes],
      size=size,
      seeds=[window_seed(scene.seed or 0, number, window) for scene in scenes],
      settings=stories[0].settings(scenes[0]),
      context=context,
    )
    known = 0 if context is None else context.shape[1]
    frames = frames[:, known : known + left]
    tail = _extend(tail, frames, stories[0].context_frames)
    left -= frames.shape[1]
    window += 1
    yield frames


def _context(tail: Frames | None, maker: ClipMaker) -> Frames | None:
  """Return as many of the last frames as fill whole latent frames."""
  if tail is None:
    return None
  tubelet = maker.frames_of(2) - maker.frames_of(1)
  return tail[:, -(1 + (tail.shape[1] - 1) // tubelet * tubelet) :]


def _extend(tail: Frames | None, frames: Frames, count: int | None) -> Frames:
  """Return the last `count` frames of the story so far, as a copy."""
  assert count is not None, 'the story is not resolved'
  if tail is not None and frames.shape[1] < count:
    frames = np.concatenate([tail, frames], axis=1)
  return frames[:, -count:].copy()
