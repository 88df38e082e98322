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
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from phenaki_jax.sampling.sampler import SamplingSettings
from phenaki_jax.sampling.story_file import MAX_FRAMES, Story
from phenaki_jax.sampling.takes import Takes


@runtime_checkable
class ClipMaker(Protocol):
  """Make clips of one length; `Sampler` is the real one."""

  @property
  def clip_frames(self) -> int:
    """Return the frames of a clip."""

  def frames_of(self, steps: int) -> int:
    """Return the frames of that many latent steps."""

  def clips(
    self,
    prompts: Sequence[str],
    *,
    size: tuple[int, int],
    seeds: Sequence[int],
    settings: SamplingSettings,
    context: np.ndarray | None = None,
  ) -> np.ndarray:
    """Return uint8 [B, T, H, W, 3]; the context's frames come first."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoryDefaults:
  """Say what holds where a story says nothing.

  Attributes:
    size: height and width in pixels.
    fps: frames per second.
    context_frames: K.
    settings: how clips are drawn.
  """

  size: tuple[int, int]
  fps: float
  context_frames: int
  settings: SamplingSettings = SamplingSettings()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shot:
  """Hold one scene with everything settled.

  Attributes:
    prompt: what happens.
    frames: length, 1 or more.
    cut: start afresh; always so for the first.
    seed: 0 to 2**32 - 1.
    settings: how its windows are drawn.
  """

  prompt: str
  frames: int
  cut: bool
  seed: int
  settings: SamplingSettings


@dataclasses.dataclass(frozen=True, kw_only=True)
class Script:
  """Hold a story with everything settled.

  Attributes:
    shots: the scenes.
    size: height and width in pixels.
    fps: frames per second.
    context_frames: K.
  """

  shots: tuple[Shot, ...]
  size: tuple[int, int]
  fps: float
  context_frames: int

  @property
  def frames(self) -> int:
    """Count the frames of the whole story."""
    return sum(shot.frames for shot in self.shots)


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


def write_script(
  story: Story, maker: ClipMaker, defaults: StoryDefaults
) -> Script:
  """Settle what a story leaves open, and check that it can be made.

  Raises:
    ValueError: K is not 1 + k * tubelet below the clip's length, a scene is
      shorter than a frame, or the story is too long.
  """
  size = story.size or defaults.size
  fps = float(story.fps or defaults.fps)
  context = story.context_frames or defaults.context_frames
  check_context(context, maker)
  shots = []
  for number, scene in enumerate(story.scenes, 1):
    frames = scene.frames or maker.clip_frames
    if scene.seconds is not None:
      frames = round(scene.seconds * fps)
    if frames < 1:
      raise ValueError(
        f'scene {number} lasts {scene.seconds} seconds, which is no frame at '
        f'{fps:g} frames per second; give {1 / fps:.3g} seconds or more'
      )
    given = {
      name: getattr(scene, name)
      for name in ('guidance', 'steps', 'temperature')
      if getattr(scene, name) is not None
    }
    shots.append(
      Shot(
        prompt=scene.prompt,
        frames=frames,
        cut=scene.cut or number == 1,
        seed=story.seed if scene.seed is None else scene.seed,
        settings=dataclasses.replace(defaults.settings, **given),
      )
    )
  script = Script(
    shots=tuple(shots), size=size, fps=fps, context_frames=context
  )
  if script.frames > MAX_FRAMES:
    raise ValueError(
      f'the story has {script.frames} frames; give at most {MAX_FRAMES} in all'
    )
  return script


def check_context(frames: int, maker: ClipMaker) -> None:
  """Raise a ValueError unless a clip can continue that many frames."""
  clip, tubelet = maker.clip_frames, _tubelet(maker)
  allowed = range(1, clip, tubelet)
  if not allowed:
    raise ValueError(
      f'the model makes clips of {clip} frame, which cannot continue anything; '
      'use a model that was trained on longer clips'
    )
  if frames not in allowed:
    nearest = min(allowed, key=lambda k: (abs(k - frames), -k))
    raise ValueError(
      f'context_frames is {frames}; it must be 1 + k * {tubelet} and below '
      f"the model's clip length of {clip}: use {nearest}. (A scene that is to "
      'see nothing of the one before has cut: true.)'
    )


def window_seed(seed: int, scene: int, window: int) -> int:
  """Derive a window's seed, 0 to 2**32 - 1; the same on every machine."""
  name = f'{seed}/{scene}/{window}'.encode()
  return int.from_bytes(hashlib.blake2b(name, digest_size=4).digest(), 'little')


def scene_keys(script: Script, origin: Mapping[str, Any]) -> list[str]:
  """Name each scene by everything that makes it.

  A scene's name changes with the model, the size, K, its number, its own
  prompt, length, seed and settings, and with the name of the scene before,
  unless it begins with a cut.

  Args:
    script: the story.
    origin: what made it beside the script (model, versions), as JSON values.
  """
  base = {
    'origin': dict(origin),
    'size': list(script.size),
    'context_frames': script.context_frames,
  }
  keys: list[str] = []
  for number, shot in enumerate(script.shots):
    content = {
      'base': base,
      'before': None if shot.cut else keys[-1],
      'number': number,
      'shot': dataclasses.asdict(shot),
    }
    text = json.dumps(content, sort_keys=True)
    keys.append(hashlib.sha256(text.encode()).hexdigest()[:32])
  return keys


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
    ValueError: they differ in size, K, lengths, cuts or settings.
  """
  if not scripts:
    raise ValueError('there is no story to tell; give at least one')
  if len({_timeline(script) for script in scripts}) > 1:
    raise ValueError(
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
  tubelet = _tubelet(maker)
  return tail[:, -(1 + (tail.shape[1] - 1) // tubelet * tubelet) :]


def _extend(
  tail: np.ndarray | None, frames: np.ndarray, count: int
) -> np.ndarray:
  """Return the last `count` of the frames kept so far, as a copy."""
  if tail is not None and frames.shape[1] < count:
    frames = np.concatenate([tail, frames], axis=1)
  return frames[:, -count:].copy()


def _tubelet(maker: ClipMaker) -> int:
  return maker.frames_of(2) - maker.frames_of(1)
