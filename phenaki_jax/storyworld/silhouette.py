"""Naming a shape, and how it is turned, by templates of its silhouette."""

import dataclasses
import functools
import math

import numpy as np
from scipy import ndimage

from phenaki_jax.storyworld import foreground, outline

_CELLS = 28
_REACH = 1.8  # half the side of the grid, in radii of a disc of equal area
_ANGLES = 72
_TURN = 2 * math.pi / _ANGLES
_SPIN_TURNS = (2, 3, 4)  # candidate speeds, in 5 degrees per reference frame


@dataclasses.dataclass(frozen=True, kw_only=True)
class Silhouette:
  """Say how well one shape explains the outlines of a clip's object.

  Attributes:
    shape: its name.
    likeness: of the outlines to the shape's own, in [-1, 1].
    spin_gain: by how much turning steadily explains them better than not.
    angles: radians clockwise per frame, zeros unless it spins.
  """

  shape: str
  likeness: float
  spin_gain: float
  angles: np.ndarray


@functools.lru_cache(maxsize=16)
def mass(shape: str) -> tuple[float, float]:
  """Return a shape's area (radii squared) and how low its middle of mass is.

  The second is in radii below the shape's own middle; all shapes are
  symmetric left to right.
  """
  steps = np.linspace(-1.6, 1.6, 401)
  x, y = np.meshgrid(steps, steps)
  inside = outline.signed_distance(shape, x, y) < 0
  cell = (steps[1] - steps[0]) ** 2
  return float(inside.sum() * cell), float(y[inside].mean())


@functools.lru_cache(maxsize=256)
def _templates(shape, sharpness):
  """Return unit vectors [angles, cells] of a shape turned all round."""
  area, low = mass(shape)
  scale = math.sqrt(area / math.pi)
  steps = ((np.arange(_CELLS) + 0.5) / _CELLS * 2 - 1) * _REACH * scale
  x, y = np.meshgrid(steps, steps)
  angles = np.arange(_ANGLES)[:, None, None] * _TURN
  turned_x = x * np.cos(angles) + y * np.sin(angles)
  turned_y = y * np.cos(angles) - x * np.sin(angles) + low
  distance = outline.signed_distance(shape, turned_x, turned_y) / scale
  cover = np.clip(0.5 - distance * sharpness, 0, 1).reshape(_ANGLES, -1)
  return _unit(cover)


def _unit(rows):
  rows = rows - rows.mean(1, keepdims=True)
  norm = np.linalg.norm(rows, axis=1, keepdims=True)
  return (rows / np.maximum(norm, 1e-9)).astype(np.float32)


def _cells(blob):
  """Sample a blob about its middle, scaled to an area of pi."""
  radius = math.sqrt(blob.area / math.pi)
  steps = ((np.arange(_CELLS) + 0.5) / _CELLS * 2 - 1) * _REACH * radius
  rows, columns = np.meshgrid(
    blob.middle[0] + steps, blob.middle[1] + steps, indexing='ij'
  )
  return ndimage.map_coordinates(blob.filled, (rows, columns), order=1).ravel()


def match(
  blobs: list[foreground.Blob],
  times: np.ndarray,
  shapes: tuple[str, ...],
  *,
  may_spin: bool,
) -> list[Silhouette]:
  """Say of each shape, still or turning, how like the blobs it is.

  Args:
    blobs: the object in those frames where it was found, at least one.
    times: of those frames, in frames at the reference rate.
    shapes: to choose from.
    may_spin: whether to try turning them.

  Returns:
    One for each shape, the most like first.
  """
  radius = math.sqrt(np.median([b.area for b in blobs]) / math.pi)
  # One pixel of softness, a little more for the blur of resampling.
  sharpness = max(1.0, round(radius) / 1.6)
  cells = _unit(np.stack([_cells(blob) for blob in blobs]))
  found = []
  for shape in shapes:
    # So small a product that the threads of `@` would only be in the way.
    scores = np.einsum('fc,ac->fa', cells, _templates(shape, sharpness))
    upright = float(np.median(scores[:, 0]))
    gain, angles = 0.0, np.zeros(len(blobs))
    speeds = _SPIN_TURNS if may_spin and len(blobs) > 2 else ()
    for speed in speeds if outline.SYMMETRY[shape] else ():
      turns = np.arange(_ANGLES)[:, None] + np.round(speed * times)[None]
      turns = turns.astype(int) % _ANGLES
      turning = np.median(scores[np.arange(len(blobs))[None], turns], axis=1)
      best = int(turning.argmax())
      if turning[best] - upright > gain:
        gain = float(turning[best] - upright)
        angles = turns[best] * _TURN
    found.append(
      Silhouette(
        shape=shape, likeness=upright + gain, spin_gain=gain, angles=angles
      )
    )
  return sorted(found, key=lambda one: -one.likeness)
