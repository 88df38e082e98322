"""Stories: scene after scene at constant memory (Phenaki, section 2.2).

The first window of a story is a clip of the length the generator was trained
on. Every later window sees the last K frames: they are encoded again, their
tokens are given, the rest is sampled under the prompt of the current scene,
and the K frames are dropped from what comes out. Frames beyond a scene's
length are dropped too, and K always counts frames that were kept. A scene
with `cut` begins like the first, and nothing before it is seen again.

A window's random seed depends on its scene's seed, its scene's number and its
number in the scene alone, so another seed for one scene leaves all earlier
ones as they are.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from phenaki_jax.errors import UserError
from phenaki_jax.stories.script import (
  ClipMaker,
  Script,
  scene_keys,
  tubelet_of,
  window_seed,
)
from phenaki_jax.stories.takes import Takes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Footage:
  """Hold frames as they come.

  Attributes:
    scene: number of the scene, from 0.
    start: number of the first of the frames within the scene, from 0.
    frames: uint8 [T, H, W, 3]; of several stories at once [B, T, H, W, 3].
  """

  scene: int
  start: int
  frames: np.ndarray


def tell(
  maker: ClipMaker,
  script: Script,
  *,
  takes: Takes | None = None,
  origin: Mapping[str, Any] | None = None,
) -> Iterator[Footage]:
  """Make a story, and hand out its frames as they come.

  Never more than a window and K frames are held.

  Args:
    maker: makes the clips.
    script: the story.
    takes: where finished scenes are kept. A scene that is there under its
      name (see `scene_keys`) is read instead of made; it is the same to the
      last bit.
    origin: see `scene_keys`; needed with `takes`.
  """
  if takes is None:
    yield from (
      dataclasses.replace(footage, frames=footage.frames[0])
      for footage in tell_together(maker, [script])
    )
    return
  tail = None
  keys = scene_keys(script, origin or {})
  for number, shot in enumerate(script.shots):
    shape = (shot.frames, *script.size, 3)
    tail = None if shot.cut else tail
    kept = takes.find(keys[number], shape)
    start = 0
    if kept is not None:
      for start in range(0, shot.frames, maker.clip_frames):
        frames = np.array(kept[start : start + maker.clip_frames])
        tail = _extend(tail, frames[None], script.context_frames)
        yield Footage(scene=number, start=start, frames=frames)
      continue
    with takes.record(keys[number], shape) as take:
      for batch in _scene(maker, [script], number, tail):
        tail = _extend(tail, batch, script.context_frames)
        take.append(batch[0])
        yield Footage(scene=number, start=start, frames=batch[0])
        start += batch.shape[1]


def tell_together(
  maker: ClipMaker, scripts: Sequence[Script]
) -> Iterator[Footage]:
  """Make several stories of one timeline as a batch.

  Each comes out as it would alone, up to what the size of a batch changes in
  the last bits of a product of matrices.

  Raises:
    UserError: they differ in size, K, lengths, cuts or settings.
  """
  if not scripts:
    raise UserError('there is no story to tell; give at least one')
  if len({_timeline(script) for script in scripts}) > 1:
    raise UserError(
      'stories that are told together must have the same size, context_frames, '
      'lengths, cuts and settings; tell them one by one'
    )
  tail = None
  for number, shot in enumerate(scripts[0].shots):
    tail = None if shot.cut else tail
    start = 0
    for frames in _scene(maker, scripts, number, tail):
      tail = _extend(tail, frames, scripts[0].context_frames)
      yield Footage(scene=number, start=start, frames=frames)
      start += frames.shape[1]


def _timeline(script: Script) -> tuple:
  shots = tuple((shot.frames, shot.cut, shot.settings) for shot in script.shots)
  return script.size, script.context_frames, shots


def _scene(
  maker: ClipMaker,
  scripts: Sequence[Script],
  number: int,
  tail: np.ndarray | None,
) -> Iterator[np.ndarray]:
  """Make one scene of each story, window by window, and no frame too many."""
  shots = [script.shots[number] for script in scripts]
  todo, window = shots[0].frames, 0
  while todo:
    context = _context(tail, maker)
    frames = maker.clips(
      [shot.prompt for shot in shots],
      size=scripts[0].size,
      seeds=[window_seed(shot.seed, number, window) for shot in shots],
      settings=shots[0].settings,
      context=context,
    )
    seen = 0 if context is None else context.shape[1]
    frames = frames[:, seen : seen + todo]
    tail = _extend(tail, frames, scripts[0].context_frames)
    todo -= frames.shape[1]
    window += 1
    yield frames


def _context(tail: np.ndarray | None, maker: ClipMaker) -> np.ndarray | None:
  """Take as many of the last frames as fill whole latent steps."""
  if tail is None:
    return None
  tubelet = tubelet_of(maker)
  return tail[:, -(1 + (tail.shape[1] - 1) // tubelet * tubelet) :]


def _extend(
  tail: np.ndarray | None, frames: np.ndarray, count: int
) -> np.ndarray:
  """Return the last `count` of the frames kept so far, as a copy."""
  if tail is not None and frames.shape[1] < count:
    frames = np.concatenate([tail, frames], axis=1)
  return frames[:, -count:].copy()
