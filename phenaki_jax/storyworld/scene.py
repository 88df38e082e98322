"""Scenes: facts with a position, and how motion changes it.

The world is a torus: what leaves the frame on one side enters on the other.
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Float

from phenaki_jax.errors import UserError
from phenaki_jax.storyworld import facts as facts_lib

REFERENCE_FPS = 8.0
# A reference frame is a frame at REFERENCE_FPS. Distances are relative to the
# frame: radii to its shorter side, all others to its width or height.
SPEED = 1 / 8  # Per reference frame.
RADIUS = {'small': 0.14, 'big': 0.22}
SECOND_RADIUS = 0.12
BOUNCE_HEIGHT = 0.22
BOUNCE_PERIOD = 6  # Reference frames of one bounce, up and down.
SPIN_SPEED = math.radians(15)  # Radians per reference frame, clockwise.
GROW_PERIOD = 16  # Reference frames after which the growth restarts.
GROW_RADII = (0.13, 0.26)

_VELOCITIES: dict[str | None, tuple[float, float]] = {
  'left': (-SPEED, 0.0),
  'right': (SPEED, 0.0),
  'up': (0.0, -SPEED),
  'down': (0.0, SPEED),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scene:
  """Facts and the position of the object at frame 0.

  Attributes:
    facts: what is shown.
    x, y: centre of the object in [0, 1) of the frame's width and height; for a
      bounce, its lowest position.
    phase: progress of a bounce, spin, growth or shrinkage, in reference frames.
    second_x, second_y: centre of the second object, if there is one.
  """

  facts: facts_lib.Facts
  x: float | int = 0.5
  y: float | int = 0.5
  phase: float | int = 0.0
  second_x: float | int = 0.0
  second_y: float | int = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Track:
  """Where an object is in each of T frames.

  Attributes:
    x, y: centre in [0, 1) of the frame's width and height.
    radius: in shorter sides of the frame.
    angle: in radians, clockwise.
  """

  x: Float[np.ndarray, 'T']
  y: Float[np.ndarray, 'T']
  radius: Float[np.ndarray, 'T']
  angle: Float[np.ndarray, 'T']


def wrap(offset: Float[np.ndarray, '...']) -> Float[np.ndarray, '...']:
  """Return the shortest equal offset on the torus, in [-0.5, 0.5)."""
  return (offset + 0.5) % 1 - 0.5


def track(
  scene: Scene, start: int, stop: int, fps: float | int = REFERENCE_FPS
) -> Track:
  """Compute the object's track over frames [start, stop) of a scene.

  An object that grows or shrinks passes through all its radii in 16 reference
  frames and then starts again, so that any part of the scene shows the motion.

  Returns:
    A track of float32 arrays.

  Raises:
    UserError: `fps` is not positive.
    ValueError: not 0 <= start < stop.
  """
  if not fps > 0:
    raise UserError(f'fps is {fps}; it must be positive')
  if not 0 <= start < stop:
    raise ValueError(f'frames [{start}, {stop}) are not 0 <= start < stop')
  time = np.arange(start, stop) * (REFERENCE_FPS / fps)
  motion = scene.facts.motion
  velocity_x, velocity_y = _VELOCITIES.get(motion, (0.0, 0.0))
  x = scene.x + velocity_x * time
  y = scene.y + velocity_y * time
  phase = scene.phase + time
  angle = np.zeros_like(time)
  radius = np.full_like(time, RADIUS[scene.facts.size])
  if motion == 'bounce':
    lift = np.abs(np.sin(math.pi * phase / BOUNCE_PERIOD))
    y = y - BOUNCE_HEIGHT * lift
  elif motion == 'spin':
    angle = SPIN_SPEED * phase
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


def _first_phase(motion: str | None, radius: float | int) -> float:
  """Return the phase at which an object of `radius` starts `motion`.

  A growth starts at that radius, but at most half-way; a shrinkage starts
  half-way.
  """
  if motion == 'shrink':
    return GROW_PERIOD / 2
  if motion != 'grow':
    return 0.0
  small, big = GROW_RADII
  share = math.log(radius / small) / math.log(big / small)
  return min(max(share, 0.0), 0.5) * GROW_PERIOD


def advance(
  scene: Scene,
  frames: int,
  facts: facts_lib.Facts,
  fps: float | int = REFERENCE_FPS,
) -> Scene:
  """Return the scene that continues `scene` after `frames` with new facts.

  The object starts where it was at the end of `scene`. An unchanged motion
  keeps its phase.
  """
  here = track(scene, frames, frames + 1, fps)
  time = frames * REFERENCE_FPS / fps
  x, y = float(here.x[0]), float(here.y[0])
  if facts.motion == scene.facts.motion:
    phase = scene.phase + time
    # The position of a bounce is its lowest one, not that in the air.
    if facts.motion == 'bounce':
      y = scene.y
  else:
    phase = _first_phase(facts.motion, float(here.radius[0]))
  return dataclasses.replace(scene, facts=facts, x=x, y=y, phase=phase)
