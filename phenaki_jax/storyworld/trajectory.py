"""Naming a motion by where the object is from frame to frame."""

import dataclasses

import numpy as np

_SLOWEST = 0.02  # of the frame per reference frame, to count as moving
_STEADY = 0.04  # how far a step may be from the usual one
_STEADY_SHARE = 0.6
_RESTING_SHARE = 0.75
_SPIN_GAIN = 0.02
_GROWTH = 0.014  # of the radius per reference frame
_LEAP = 0.25  # of the radius, too much for growth
_LONGEST = 0.16  # a step of a bounce, of the frame


@dataclasses.dataclass(frozen=True, kw_only=True)
class Motion:
  """Hold a motion's name, None where unsure, and a confidence in [0, 1]."""

  name: str | None
  confidence: float


_UNSURE = Motion(name=None, confidence=0.0)


def steps(values: np.ndarray, times: np.ndarray, *, torus: bool) -> np.ndarray:
  """Return how much values change per reference frame.

  Compared are frames about two reference frames apart, however many frames
  that is: video models draw frames in pairs, and where an object is within
  its pair wavers. On a torus of length 1 a step is the shorter way round.
  """
  spacing = float(np.median(np.diff(times)))
  lag = min(max(1, round(2 / spacing)), len(values) - 1)
  change = values[lag:] - values[:-lag]
  if torus:
    change = (change + 0.5) % 1 - 0.5
  return change / (times[lag:] - times[:-lag])


def _bounce(dx, dy, lengths):
  """Return a confidence that the object goes up and down in place."""
  path, net = np.abs(dy).sum(), abs(dy.sum())
  rising, falling = -dy[dy < 0].sum(), dy[dy > 0].sum()
  if len(dy) < 3 or np.median(np.abs(dy)) < _SLOWEST:
    return 0.0
  smooth = (lengths < _LONGEST).mean() > 0.8
  if not smooth or np.abs(dx).sum() > 0.5 * path:
    return 0.0
  if net > 0.85 * path or min(rising, falling) < 0.02:
    return 0.0
  return float(1 - net / path)


def _growth(radius, times):
  """Return the usual relative change of the radius per reference frame."""
  changes = steps(np.log(radius), times, torus=False)
  # What grows starts anew now and then; that leap says nothing.
  gentle = changes[np.abs(changes) < _LEAP]
  return float(gentle.mean()) if len(gentle) else 0.0


def name_motion(
  x: np.ndarray,
  y: np.ndarray,
  radius: np.ndarray,
  times: np.ndarray,
  spin_gain: float,
  motions: tuple[str, ...],
) -> Motion:
  """Name the motion of an object.

  Args:
    x, y: middle in [0, 1) of the frame, in the T frames it was found in.
    radius: in any unit.
    times: of the frames, in frames at the reference rate.
    spin_gain: by how much turning explains the outlines better.
    motions: to choose from.

  Returns:
    Of fewer than 2 frames nothing is known.
  """
  if len(x) < 2:
    return _UNSURE
  dx, dy = steps(x, times, torus=True), steps(y, times, torus=True)
  usual_x, usual_y = float(np.median(dx)), float(np.median(dy))
  lengths = np.hypot(dx, dy)
  found = _UNSURE
  bounce = _bounce(dx, dy, lengths) if 'bounce' in motions else 0.0
  across, along = abs(usual_x), abs(usual_y)
  if bounce:
    found = Motion(name='bounce', confidence=bounce)
  elif max(across, along) > _SLOWEST:
    off = np.hypot(dx - usual_x, dy - usual_y)
    steady = float((off < _STEADY).mean())
    if max(across, along) > 1.5 * min(across, along) and (
      steady >= _STEADY_SHARE
    ):
      if across > along:
        name = 'right' if usual_x > 0 else 'left'
      else:
        name = 'down' if usual_y > 0 else 'up'
      found = Motion(name=name, confidence=steady)
  elif (lengths < 1.25 * _SLOWEST).mean() >= _RESTING_SHARE:
    growth = _growth(radius, times)
    found = Motion(name='still', confidence=float((lengths < _SLOWEST).mean()))
    turns = spin_gain > _SPIN_GAIN and 'spin' in motions
    # The measured size of a turning object wavers a little.
    least = _GROWTH * (2.5 if turns else 1)
    if abs(growth) > least and {'grow', 'shrink'} & set(motions):
      found = Motion(
        name='grow' if growth > 0 else 'shrink',
        confidence=min(1.0, abs(growth) / (2 * _GROWTH)),
      )
    elif turns:
      found = Motion(
        name='spin', confidence=min(1.0, spin_gain / (3 * _SPIN_GAIN))
      )
  return found if found.name in motions else _UNSURE
