"""A story with everything settled: what the model, the file and the user say.

A script names all that makes a story's frames, which is why the seeds of its
windows, the names of its finished scenes and its provenance come from here.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from phenaki_jax.errors import UserError
from phenaki_jax.sampling.sampler import SamplingSettings
from phenaki_jax.stories.story_file import MAX_FRAMES, Story


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


def write_script(
  story: Story, maker: ClipMaker, defaults: StoryDefaults
) -> Script:
  """Settle what a story leaves open, and check that it can be made.

  Raises:
    UserError: K is not 1 + k * tubelet below the clip's length, a scene is
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
      raise UserError(
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
    raise UserError(
      f'the story has {script.frames} frames; give at most {MAX_FRAMES} in all'
    )
  return script


def check_context(frames: int, maker: ClipMaker) -> None:
  """Raise a UserError unless a clip can continue that many frames."""
  clip, tubelet = maker.clip_frames, tubelet_of(maker)
  allowed = range(1, clip, tubelet)
  if not allowed:
    raise UserError(
      f'the model makes clips of {clip} frame, which cannot continue anything; '
      'use a model that was trained on longer clips'
    )
  if frames not in allowed:
    nearest = min(allowed, key=lambda k: (abs(k - frames), -k))
    raise UserError(
      f'context_frames is {frames}; it must be 1 + k * {tubelet} and below '
      f"the model's clip length of {clip}: use {nearest}. (A scene that is to "
      'see nothing of the one before has cut: true.)'
    )


def window_seed(seed: int, scene: int, window: int) -> int:
  """Derive a window's seed, 0 to 2**32 - 1; the same on every machine."""
  return _hash32(f'{seed}/{scene}/{window}')


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


def reroll(script: Script, numbers: Iterable[int]) -> Script:
  """Give scenes other seeds, each derived from the one it had.

  Args:
    script: the story.
    numbers: of the scenes, from 1; one that stands twice is rolled twice.

  Raises:
    UserError: there is no scene of that number.
  """
  shots = list(script.shots)
  for number in numbers:
    if not 1 <= number <= len(shots):
      raise UserError(
        f'there is no scene {number} to roll again; the story has scenes 1 to '
        f'{len(shots)}'
      )
    shot = shots[number - 1]
    seed = _hash32(f'reroll/{shot.seed}/{number}')
    shots[number - 1] = dataclasses.replace(shot, seed=seed)
  return dataclasses.replace(script, shots=tuple(shots))


def describe(script: Script) -> dict[str, Any]:
  """Return a script as JSON values; `start` counts frames from the first."""
  scenes = []
  start = 0
  for shot in script.shots:
    scenes.append(
      {
        'prompt': shot.prompt,
        'start': start,
        'frames': shot.frames,
        'cut': shot.cut,
        'seed': shot.seed,
        **dataclasses.asdict(shot.settings),
      }
    )
    start += shot.frames
  return {
    'size': list(script.size),
    'fps': script.fps,
    'context_frames': script.context_frames,
    'frames': script.frames,
    'scenes': scenes,
  }


def take_seeds(script: Script, description: Any) -> Script | None:
  """Return the script with the seeds of a description of the same story.

  None if the description is not of this story: the seeds are all that may
  differ.
  """
  try:
    seeds = [scene['seed'] for scene in description['scenes']]
    if len(seeds) != len(script.shots):
      return None
    shots = tuple(
      dataclasses.replace(shot, seed=int(seed))
      for shot, seed in zip(script.shots, seeds, strict=True)
    )
  except (KeyError, TypeError, ValueError):
    return None
  other = dataclasses.replace(script, shots=shots)
  return other if describe(other) == description else None


def tubelet_of(maker: ClipMaker) -> int:
  """Return the frames of one latent step."""
  return maker.frames_of(2) - maker.frames_of(1)


def _hash32(name: str) -> int:
  digest = hashlib.blake2b(name.encode(), digest_size=4).digest()
  return int.from_bytes(digest, 'little')
