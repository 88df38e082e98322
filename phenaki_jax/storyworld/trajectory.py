"""Read the motion from the positions of the object."""

import numpy as np
from jaxtyping import Float

from phenaki_jax.storyworld import scene as scene_lib

# Speeds are in sides of the frame per reference frame.
_MIN_SPEED = 0.02  # An object below this speed is at rest.
# The deviation from the median velocity up to which motion is steady.
_MAX_DEVIATION = 0.04
_STEADY_SHARE = 0.6  # Minimum share of frames with steady motion.
_RESTING_SHARE = 0.75  # Minimum share of frames at rest.
_MIN_SPIN_GAIN = 0.02
# Growth is the relative change of the radius per reference frame.
_MIN_GROWTH = 0.014
_MAX_GROWTH = 0.25
_MAX_BOUNCE_SPEED = 0.16


_UNSURE = (None, 0.0)


def _velocities(values, times, *, torus):
  """Return the change of values per reference frame.

  Frames about two reference frames apart are compared. Video models generate
  frames in pairs, and positions within a pair are noisy. On a torus of length 1
  the change is the shortest one.
  """
  spacing = float(np.median(np.diff(times)))
  lag = min(max(1, round(2 / spacing)), len(values) - 1)
  change = values[lag:] - values[:-lag]
  if torus:
    change = scene_lib.wrap(change)
  return change / (times[lag:] - times[:-lag])


def _bounce(dx, dy, speeds):
  """Return the confidence that the object moves up and down in place."""
  path, net = np.abs(dy).sum(), abs(dy.sum())
  rising, falling = -dy[dy < 0].sum(), dy[dy > 0].sum()
  if len(dy) < 3 or np.median(np.abs(dy)) < _MIN_SPEED:
    return 0.0
  smooth = (speeds < _MAX_BOUNCE_SPEED).mean() > 0.8
  if not smooth or np.abs(dx).sum() > 0.5 * path:
    return 0.0
  if net > 0.85 * path or min(rising, falling) < 0.02:
    return 0.0
  return float(1 - net / path)


def _growth(radius, times):
  """Return the mean relative change of the radius per reference frame."""
  changes = _velocities(np.log(radius), times, torus=False)
  # Growth starts again now and then; leave out these large changes.
  gentle = changes[np.abs(changes) < _MAX_GROWTH]
  return float(gentle.mean()) if len(gentle) else 0.0


def name_motion(
  track: scene_lib.Track,
  times: Float[np.ndarray, 'T'],
  spin_gain: float,
  motions: tuple[str, ...],
) -> tuple[str | None, float]:
  """Name the motion of an object.

  Args:
    track: of the object, in the T frames where it was found.
    times: times of these frames, in reference frames.
    spin_gain: as of its `Silhouette`.
    motions: the motions to choose from.

  Returns:
    The motion, None where unsure or if T is below 2, and the confidence in
    [0, 1].
  """
  if len(times) < 2:
    return _UNSURE
  dx = _velocities(track.x, times, torus=True)
  dy = _velocities(track.y, times, torus=True)
  median_x, median_y = float(np.median(dx)), float(np.median(dy))
  speeds = np.hypot(dx, dy)
  name, confidence = _UNSURE
  bounce = _bounce(dx, dy, speeds) if 'bounce' in motions else 0.0
  across, down = abs(median_x), abs(median_y)
  if bounce:
    name, confidence = 'bounce', bounce
  elif max(across, down) > _MIN_SPEED:
    deviation = np.hypot(dx - median_x, dy - median_y)
    steady = float((deviation < _MAX_DEVIATION).mean())
    is_straight = max(across, down) > 1.5 * min(across, down)
    if is_straight and steady >= _STEADY_SHARE:
      if across > down:
        name = 'right' if median_x > 0 else 'left'
      else:
        name = 'down' if median_y > 0 else 'up'
      confidence = steady
  elif (speeds < 1.25 * _MIN_SPEED).mean() >= _RESTING_SHARE:
    growth = _growth(track.radius, times)
    name, confidence = 'still', float((speeds < _MIN_SPEED).mean())
    spins = spin_gain > _MIN_SPIN_GAIN and 'spin' in motions
    # The measured radius of a spinning object is less accurate.
    least = _MIN_GROWTH * (2.5 if spins else 1)
    if abs(growth) > least and {'grow', 'shrink'} & set(motions):
      name = 'grow' if growth > 0 else 'shrink'
      confidence = min(1.0, abs(growth) / (2 * _MIN_GROWTH))
    elif spins:
      name, confidence = 'spin', min(1.0, spin_gain / (3 * _MIN_SPIN_GAIN))
  return (name, confidence) if name in motions else _UNSURE
