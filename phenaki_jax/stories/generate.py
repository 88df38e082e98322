"""Generate stories window by window at constant memory (Phenaki, section 2.2).

`timeline.plan` divides the scenes into windows. The first window of a story is
one clip of the length that the generator was trained on. Every later window
sees the last K frames: they are encoded again, their tokens are known, the
other tokens are sampled with the prompt of the current scene, and the K frames
are removed from the result. Frames beyond the end of a scene are removed as
well, so the K frames are always frames of the story. A scene with `cut` starts
like the first one, without context frames; one with `start` continues the
frames of an image or clip instead. A story with `context: tokens` carries the
tokens of these frames on (see `by_tokens`).

The random seed of a window depends only on the seed of its scene, the number
of the scene and the number of the window in the scene. A new seed for one
scene leaves all earlier scenes unchanged.

A model whose memory has slots for a history is also shown the first frames and
the prompts of earlier scenes, which `recall.Recall` chooses and keeps. All
windows of a scene see the same slots.
"""

import dataclasses
import itertools
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from phenaki_jax.errors import UserError
from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.sampling.history import History
from phenaki_jax.sampling.scored_clips import ScoredClips
from phenaki_jax.stories.by_tokens import generate_by_tokens
from phenaki_jax.stories.candidates import choose
from phenaki_jax.stories.judge import Judge
from phenaki_jax.stories.kept_scenes import KeptScenes
from phenaki_jax.stories.recall import Recall, history_slots
from phenaki_jax.stories.seeds import candidate_seed, scene_keys, window_seed
from phenaki_jax.stories.story import Story
from phenaki_jax.stories.timeline import Window, plan
from phenaki_jax.types import VideoU8

Frames: TypeAlias = UInt8[np.ndarray, 'B _ H W 3']
"""Frames of several stories; their number differs between arguments."""

Starts: TypeAlias = Mapping[int, VideoU8]
"""By number of a scene, from 0, the frames that it starts from."""
_NO_STARTS: Starts = types.MappingProxyType({})


@runtime_checkable
class ClipMaker(Protocol):
  """A model that makes clips of one length, such as `Sampler`.

  One with a property `history_slots` above 0 also takes a `history`, and one
  with a true property `reads_fps` the frame rate, `fps`.
  """

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


def reads_fps(maker: Any) -> bool:
  """Return whether the clips of a model depend on the frame rate."""
  return bool(getattr(maker, 'reads_fps', False))


@runtime_checkable
class ScoringMaker(ClipMaker, Protocol):
  """A model that also tells how good it takes its clips to be."""

  def scored_clips(
    self,
    prompts: Sequence[str],
    *,
    size: tuple[int, int],
    seeds: Sequence[int],
    settings: SamplingSettings,
    context: np.ndarray | None = None,
  ) -> ScoredClips:
    """Return the clips of `clips`, with their scores."""


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
  starts: Starts = _NO_STARTS,
  judge: Judge | None = None,
) -> Iterator[Chunk]:
  """Generate one story; yield frames [T, H, W, 3] as soon as they exist.

  At most one window, K frames and a fixed number of first frames are in memory;
  of a scene with candidates, at most two of them.

  Args:
    maker: makes the clips; a `ScoringMaker` if a scene has candidates.
    story: a resolved story.
    kept: finished scenes. A scene that is found under its key (see
      `scene_keys`) is read, with the same bits, instead of generated; other
      scenes are added. They are not used with `context: tokens`.
    origin: see `scene_keys`; required with `kept`.
    starts: frames of all scenes with `start`, of the size of the story.
    judge: scores a candidate if `story.choose` is 'oracle'.

  Raises:
    UserError: frames that a scene starts from are missing, or candidates
      cannot be scored as the story says.
  """
  for number, scene in enumerate(story.scenes):
    if scene.start is not None and number not in starts:
      raise UserError(
        f'scene {number + 1} starts from {scene.start}, which cannot be read '
        'here; generate the story with `phenaki story`, or remove its start'
      )
  if story.context == 'tokens':
    for chunk in _by_tokens(maker, [story], starts):
      yield dataclasses.replace(chunk, frames=chunk.frames[0])
    return
  keys = scene_keys(
    story,
    origin or {},
    starts,
    slots=history_slots(maker),
    reads_fps=reads_fps(maker),
  )

  def generate_scene(
    number: int,
    windows: Iterator[Window],
    tail: Frames | None,
    history: History | None,
  ) -> Iterator[Frames]:
    scene = story.scenes[number]
    chunks: Iterator[np.ndarray]
    if (scene.candidates or 1) > 1:
      chunks = _best(maker, story, number, windows, tail, history, judge)
    else:
      made = _windows(maker, [story], windows, tail, history)
      chunks = (clips.frames[0] for clips in made)
    if kept is not None:
      assert story.size is not None
      shape = (scene.frames or 0, *story.size, 3)
      chunks = kept.through(
        keys[number], shape, chunks, chunk_frames=maker.clip_frames
      )
    return (frames[None] for frames in chunks)

  for chunk in _chunks(maker, [story], generate_scene, starts):
    yield dataclasses.replace(chunk, frames=chunk.frames[0])


def generate_batch(
  maker: ClipMaker, stories: Sequence[Story], *, first: Frames | None = None
) -> Iterator[Chunk]:
  """Generate resolved stories of equal lengths as a batch.

  Each story equals the one generated alone, up to the rounding differences
  of matrix products of another batch size.

  Args:
    maker: makes the clips.
    stories: at least one.
    first: all frames of the first scene of each story, which are not generated;
      not with `context: tokens`.

  Raises:
    UserError: the stories differ in size, frame rate, K, lengths, cuts or
      settings, or have candidates or frames to start from.
  """
  if not stories:
    raise UserError('there is no story to generate; give at least one')
  if any(_timeline(story) != _timeline(stories[0]) for story in stories):
    raise UserError(
      'the stories of a batch must have the same size, fps, context_frames, '
      'lengths, cuts and settings; generate them one by one'
    )
  if any(
    (scene.candidates or 1) > 1 or scene.start is not None
    for story in stories
    for scene in story.scenes
  ):
    raise UserError(
      'a story with candidates or a start is not generated in a batch; '
      'generate it alone'
    )
  if stories[0].context == 'tokens':
    yield from _by_tokens(maker, stories, _NO_STARTS)
    return

  def generate_scene(
    number: int,
    windows: Iterator[Window],
    tail: Frames | None,
    history: History | None,
  ) -> Iterator[Frames]:
    if first is not None and not number:
      return iter([first])
    made = _windows(maker, stories, windows, tail, history)
    return (clips.frames for clips in made)

  yield from _chunks(maker, stories, generate_scene, _NO_STARTS)


def _timeline(story: Story) -> tuple:
  scenes = [
    (s.frames, s.cut, s.context_frames, story.settings(s)) for s in story.scenes
  ]
  return story.size, story.fps, story.context_frames, story.context, scenes


def _by_tokens(
  maker: ClipMaker, stories: Sequence[Story], starts: Starts
) -> Iterator[Chunk]:
  """Generate stories whose windows carry on tokens."""
  windows = plan_story(maker, stories[0], starts)
  firsts = [0, *itertools.accumulate(s.frames or 0 for s in stories[0].scenes)]
  for window, frames in generate_by_tokens(maker, stories, windows, starts):
    start = window.start - firsts[window.scene]
    yield Chunk(scene=window.scene, start=start, frames=frames)


def plan_story(
  maker: ClipMaker, story: Story, starts: Starts = _NO_STARTS
) -> Iterator[Window]:
  """Divide a resolved story into windows of the model's clips."""
  return plan(
    story,
    clip_frames=maker.clip_frames,
    tubelet=maker.frames_of(2) - maker.frames_of(1),
    starts={number: len(frames) for number, frames in starts.items()},
  )


def _chunks(
  maker: ClipMaker,
  stories: Sequence[Story],
  generate_scene: Callable[
    [int, Iterator[Window], Frames | None, History | None], Iterator[Frames]
  ],
  starts: Starts,
) -> Iterator[Chunk]:
  """Generate scene after scene, each from the last frames of the previous."""
  story, recall = stories[0], Recall(maker, stories)
  assert story.size is not None, 'the story is not resolved'
  tail = None
  most = max(
    scene.context_frames or story.context_frames or 1 for scene in story.scenes
  )
  windows = plan_story(maker, story, starts)
  for number, of_scene in itertools.groupby(windows, lambda w: w.scene):
    if story.scenes[number].cut:
      tail = starts[number][None, -most:] if number in starts else None
    start, history = 0, recall.of(number)
    for frames in generate_scene(number, of_scene, tail, history):
      if not start:
        recall.add(number, frames[:, 0])
      tail = _extend(tail, frames, most)
      yield Chunk(scene=number, start=start, frames=frames)
      start += frames.shape[1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Made:
  """New frames of every story, and the scores of the clips they are of."""

  frames: np.ndarray
  clips: ScoredClips | None = None


def _windows(
  maker: ClipMaker,
  stories: Sequence[Story],
  windows: Iterable[Window],
  tail: Frames | None,
  history: History | None,
  *,
  seed: int | None = None,
  is_scored: bool = False,
) -> Iterator[_Made]:
  """Generate one scene of every story, window by window."""
  size = stories[0].size
  assert size is not None, 'the story is not resolved'
  for window in windows:
    scenes = [story.scenes[window.scene] for story in stories]
    context = None
    if window.sees:
      assert tail is not None and tail.shape[1] >= window.sees
      context = tail[:, -window.sees :]
    seeds = [scene.seed or 0 if seed is None else seed for scene in scenes]
    options: dict[str, Any] = {
      'size': size,
      'seeds': [window_seed(own, window.scene, window.number) for own in seeds],
      'settings': stories[0].settings(scenes[0]),
      'context': context,
      **({} if history is None else {'history': history}),
      **({'fps': stories[0].fps} if reads_fps(maker) else {}),
    }
    prompts = [scene.prompt for scene in scenes]
    clips = None
    if is_scored:
      assert isinstance(maker, ScoringMaker)
      clips = maker.scored_clips(prompts, **options)
      frames = clips.frames
    else:
      frames = maker.clips(prompts, **options)
    frames = frames[:, window.sees : window.sees + window.frames]
    tail = _extend(tail, frames, maker.clip_frames)
    yield _Made(frames=frames, clips=clips)


def _best(
  maker: ClipMaker,
  story: Story,
  number: int,
  windows: Iterable[Window],
  tail: Frames | None,
  history: History | None,
  judge: Judge | None,
) -> Iterator[np.ndarray]:
  """Generate the candidates of a scene; yield the frames of the best one."""
  if not isinstance(maker, ScoringMaker):
    raise UserError('this model gives no scores; set candidates: 1')
  scene = story.scenes[number]
  windows = list(windows)

  def candidates() -> Iterator[tuple[int, list[np.ndarray], list[ScoredClips]]]:
    for index in range(scene.candidates or 1):
      seed = candidate_seed(scene.seed or 0, number, index)
      made = list(
        _windows(
          maker, [story], windows, tail, history, seed=seed, is_scored=True
        )
      )
      parts = [one.frames[0] for one in made]
      yield seed, parts, [one.clips for one in made if one.clips]

  yield from choose(candidates(), story, number, judge)


def _extend(tail: Frames | None, frames: Frames, count: int) -> Frames:
  """Return the last `count` frames of the story so far, as a copy."""
  if tail is not None and frames.shape[1] < count:
    frames = np.concatenate([tail, frames], axis=1)
  return frames[:, -count:].copy()
