"""Scenes: facts put somewhere, and how their motion carries them on."""

import dataclasses
import math

import numpy as np

from phenaki_jax.errors import UserError
from phenaki_jax.storyworld import facts as facts_lib

REFERENCE_FPS = 8.0
SPEED = 1 / 8  # of the frame, per frame at the reference rate
RADIUS = {'small': 0.14, 'big': 0.22}  # of the frame's shorter side
SECOND_RADIUS = 0.12
BOUNCE_HEIGHT = 0.22  # of the frame's height
BOUNCE_PERIOD = 6  # frames at the reference rate, up and down again
SPIN_STEP = math.radians(15)  # per frame at the reference rate, clockwise
GROW_PERIOD = 16  # frames at the reference rate, then from the start again
GROW_RADII = (0.13, 0.26)

_STEPS: dict[str | None, tuple[float, float]] = {
  'left': (-SPEED, 0.0),
  'right': (SPEED, 0.0),
  'up': (0.0, -SPEED),
  'down': (0.0, SPEED),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scene:
  """Put facts on the torus.

  Attributes:
    facts: what is shown.
    x, y: the object's middle at frame 0, in [0, 1) of the frame's width and
      height; for a bounce, where it touches the ground.
    phase: how far the motion is along at frame 0, in frames at the reference
      rate (it matters to bounce, spin, grow and shrink).
    second_x, second_y: the middle of the second object, if there is one.
  """

  facts: facts_lib.Facts
  x: float | int = 0.5
  y: float | int = 0.5
  phase: float | int = 0.0
  second_x: float | int = 0.0
  second_y: float | int = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Track:
  """Hold where the object is in each of T frames.

  `x`, `y` in [0, 1) of the frame, `radius` in shorter sides of the frame,
  `angle` in radians clockwise; each float32 [T].
  """

  x: np.ndarray
  y: np.ndarray
  radius: np.ndarray
  angle: np.ndarray


def track(
  scene: Scene, start: int, stop: int, fps: float | int = REFERENCE_FPS
) -> Track:
  """Return the object's track over frames [start, stop) of a scene.

  The world is a torus: what leaves on one side comes in on the other. A
  growing (shrinking) object goes through its radii in 16 reference frames
  and then starts anew, so any window shows the motion.

  Raises UserError for an fps that is not positive or a window that is empty
  or starts before frame 0.
  """
  if not fps > 0:
    raise UserError(f'fps is {fps}; it must be positive')
  if not 0 <= start < stop:
    raise UserError(
      f'window [{start}, {stop}) is not valid; give 0 <= start < stop'
    )
  time = np.arange(start, stop) * (REFERENCE_FPS / fps)
  motion = scene.facts.motion
  step_x, step_y = _STEPS.get(motion, (0.0, 0.0))
  x = scene.x + step_x * time
  y = scene.y + step_y * time
  phase = scene.phase + time
  angle = np.zeros_like(time)
  radius = np.full_like(time, RADIUS[scene.facts.size])
  if motion == 'bounce':
    lift = np.abs(np.sin(math.pi * phase / BOUNCE_PERIOD))
    y = y - BOUNCE_HEIGHT * lift
  elif motion == 'spin':
    angle = SPIN_STEP * phase
  elif motion in facts_lib.SIZE_AFTER:
    small, big = GROW_RADII
    share = (phase / GROW_PERIOD) % 1
    if motion == 'shrink':
      share = 1 - share
    radius = small * (big / small) ** share
  return Track(
    x=(x % 1).astype(np.float32),
    y=(y % 1).astype(np.float32),
    radius=radius.astype(np.float32),
    angle=angle.astype(np.float32),
  )


def entry_phase(motion: str | None, radius: float | int) -> float:
  """Return the phase at which an object of a `radius` begins a `motion`."""
  if motion not in facts_lib.SIZE_AFTER:
    return 0.0
  small, big = GROW_RADII
  share = math.log(radius / small) / math.log(big / small)
  share = min(max(share, 0.0), 0.5)
  if motion == 'shrink':
    share = min(max(1 - share, 0.0), 0.5)
  return share * GROW_PERIOD


def advance(
  scene: Scene,
  frames: int,
  facts: facts_lib.Facts,
  fps: float | int = REFERENCE_FPS,
) -> Scene:
  """Return the scene that goes on from `scene` after `frames` with `facts`.

  The position goes on from where the object has got to; an unchanged motion
  keeps its phase.
  """
  here = track(scene, frames, frames + 1, fps)
  time = frames * REFERENCE_FPS / fps
  x, y = float(here.x[0]), float(here.y[0])
  if facts.motion == scene.facts.motion:
    phase = scene.phase + time
    # A bounce is told from its ground, not from where it is in the air.
    if facts.motion == 'bounce':
      y = scene.y
  else:
    phase = entry_phase(facts.motion, float(here.radius[0]))
  return dataclasses.replace(scene, facts=facts, x=x, y=y, phase=phase)
