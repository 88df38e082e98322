"""Read the shape and its rotation: match templates of the silhouettes."""

import dataclasses
import functools
import math

import numpy as np
from jaxtyping import Float, Float64
from scipy import ndimage

from phenaki_jax.storyworld import foreground, outline
from phenaki_jax.storyworld import subset as subset_lib

_CELLS = 28  # Cells per side of a template.
# Half the side of a template, in radii of a disc with the area of the shape.
_REACH = 1.8
_ANGLES = 72  # Number of templates per shape, one for each rotation.
_TURN = 2 * math.pi / _ANGLES
_SPEEDS = (2, 3, 4)  # Speeds of a spin, in _TURN per reference frame.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Silhouette:
  """How well a shape matches the object of a clip.

  Attributes:
    shape: name of the shape.
    similarity: correlation of the blobs with the shape, in [-1, 1], the median
      of `similarities`, which has that of each blob.
    spin_gain: increase of the similarity if the shape spins, 0 or more.
    angles: rotation per blob in radians, clockwise; zeros if it does not spin.
  """

  shape: str
  similarity: float
  similarities: Float[np.ndarray, ' blobs']
  spin_gain: float
  angles: Float64[np.ndarray, ' blobs']


@functools.lru_cache(maxsize=16)
def area_and_centroid(shape: str) -> tuple[float, float]:
  """Return the area and the y of the centroid of a shape of radius 1.

  The x of the centroid is 0, because all shapes are symmetric.
  """
  grid = np.linspace(-1.6, 1.6, 401)
  x, y = np.meshgrid(grid, grid)
  inside = outline.signed_distance(shape, x, y) < 0
  cell = (grid[1] - grid[0]) ** 2
  return float(inside.sum() * cell), float(y[inside].mean())


@functools.lru_cache(maxsize=256)
def _templates(shape, sharpness):
  """Return unit vectors [angles, cells] of a shape at all angles."""
  area, centroid = area_and_centroid(shape)
  scale = math.sqrt(area / math.pi)
  grid = _grid(scale)
  x, y = np.meshgrid(grid, grid)
  angles = np.arange(_ANGLES)[:, None, None] * _TURN
  turned_x = x * np.cos(angles) + y * np.sin(angles)
  turned_y = y * np.cos(angles) - x * np.sin(angles) + centroid
  distance = outline.signed_distance(shape, turned_x, turned_y) / scale
  cover = np.clip(0.5 - distance * sharpness, 0, 1).reshape(_ANGLES, -1)
  return _unit(cover)


def _grid(radius):
  """Return the coordinates of the cells along a side of a template."""
  return ((np.arange(_CELLS) + 0.5) / _CELLS * 2 - 1) * _REACH * radius


def _unit(rows):
  """Subtract the mean of each row and scale the row to length 1."""
  rows = rows - rows.mean(1, keepdims=True)
  norm = np.linalg.norm(rows, axis=1, keepdims=True)
  return (rows / np.maximum(norm, 1e-9)).astype(np.float32)


def _cells(blob):
  """Sample a blob around its centroid, scaled to an area of pi."""
  grid = _grid(math.sqrt(blob.area / math.pi))
  rows, columns = np.meshgrid(
    blob.centroid[0] + grid, blob.centroid[1] + grid, indexing='ij'
  )
  return ndimage.map_coordinates(blob.filled, (rows, columns), order=1).ravel()


def match(
  blobs: list[foreground.Blob],
  times: Float[np.ndarray, ' blobs'],
  subset: subset_lib.Subset,
) -> list[Silhouette]:
  """Compute how well each shape matches the object of a clip.

  Args:
    blobs: the object in the frames where it was found, at least one.
    times: times of these frames, in reference frames.
    subset: gives the shapes to choose from, and whether they may spin.

  Returns:
    One silhouette for each shape, the most similar first.
  """
  radius = math.sqrt(np.median([b.area for b in blobs]) / math.pi)
  # Edges are one pixel wide, and a little wider through resampling.
  sharpness = max(1.0, round(radius) / 1.6)
  cells = _unit(np.stack([_cells(blob) for blob in blobs]))
  found = []
  for shape in subset.values('shape'):
    # For a product this small, starting the threads of `@` takes longer.
    scores = np.einsum('fc,ac->fa', cells, _templates(shape, sharpness))
    similarities = scores[:, 0]
    upright = float(np.median(similarities))
    gain, angles = 0.0, np.zeros(len(blobs))
    spins = 'spin' in subset.motions and shape != 'circle'
    for speed in _SPEEDS if spins and len(blobs) > 2 else ():
      turns = np.arange(_ANGLES)[:, None] + np.round(speed * times)[None]
      turns = turns.astype(int) % _ANGLES
      turned = scores[np.arange(len(blobs))[None], turns]
      turning = np.median(turned, axis=1)
      best = int(turning.argmax())
      if turning[best] - upright > gain:
        gain = float(turning[best] - upright)
        angles = turns[best] * _TURN
        similarities = turned[best]
    found.append(
      Silhouette(
        shape=shape,
        similarity=upright + gain,
        similarities=similarities,
        spin_gain=gain,
        angles=angles,
      )
    )
  return sorted(found, key=lambda one: -one.similarity)
