"""Telling place and object apart: the first step of reading a clip."""

import dataclasses
import functools

import numpy as np
from scipy import ndimage

from phenaki_jax.storyworld import backdrop as backdrop_lib
from phenaki_jax.storyworld import subset as subset_lib

_FAR = 70.0  # RGB distance beyond which a pixel is simply not the place
_UNLIKE = 42.0  # mean distance beyond which no place is recognised
_EDGE = 24.0  # RGB distance from the place at which an object begins
_EDGE_SHARE = 0.35  # the same, as a share of how far off its inside is
_EDGE_MOST = 40.0  # dark rims on a dark place lie hardly further off
_EDGE_WIDTH = 0.8  # of the edge, over which a pixel goes from place to object
_PIECE = 0.2  # least area of a piece of an object, of its biggest piece
_SMALLEST, _LARGEST = 0.006, 0.5  # of the frame an object may cover


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ground:
  """Hold the place a clip was found to show.

  Attributes:
    place: its name, or None where none resembles the clip.
    confidence: how much better than the next one, in [0, 1].
    pencil: whether it is drawn in pencil.
    pencil_confidence: the same for `pencil`.
  """

  place: str | None
  confidence: float
  pencil: bool
  pencil_confidence: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Blob:
  """Hold the object of one frame, rolled over the torus to the middle.

  Attributes:
    x, y: middle of mass in [0, 1) of the frame.
    area: in pixels, holes filled.
    filled: float32 [H, W] in [0, 1], soft at the edges, with the middle of
      mass near the middle of the frame.
    middle: (row, column) of the middle of mass within `filled`.
  """

  x: float
  y: float
  area: float
  filled: np.ndarray
  middle: tuple[float, float]


def _margin(costs, best):
  """Return by how much the best cost undercuts the next, in [0, 1]."""
  others = [cost for key, cost in costs.items() if key != best]
  if not others:
    return 1.0
  return float(1 - costs[best] / max(min(others), 1e-6))


def find_ground(frames: np.ndarray, subset: subset_lib.Subset) -> Ground:
  """Find the place by its template; the object may cover under half of it.

  Args:
    frames: float32 [T, H, W, 3] in [0, 255].
    subset: gives the places and styles to choose from.
  """
  height, width = frames.shape[1:3]
  few = frames[:: max(1, len(frames) // 4)]
  styles = subset.values('style')
  looks = [
    look
    for look in (False, True)
    if ('pencil' in styles if look else set(styles) - {'pencil'})
  ]
  costs = {}
  for place in subset.values('place'):
    for look in looks:
      template = backdrop_lib.backdrop(place, height, width, pencil=look)
      distance = np.sqrt(((few - template) ** 2).sum(-1))
      costs[place, look] = float(np.minimum(distance, _FAR).mean())
  best = min(costs, key=costs.__getitem__)
  by_place = {p: min(costs[p, k] for k in looks) for p, _ in costs}
  by_look = {k: min(c for (_, j), c in costs.items() if j == k) for k in looks}
  sure = costs[best] < _UNLIKE
  return Ground(
    place=best[0] if sure else None,
    confidence=_margin(by_place, best[0]),
    pencil=best[1],
    pencil_confidence=_margin(by_look, best[1]),
  )


@functools.lru_cache(maxsize=64)
def _bounds(place, pencil, height, width):
  """Return the least and greatest template value around each pixel."""
  template = backdrop_lib.backdrop(place, height, width, pencil=pencil)
  reach = 2 * max(1, round(min(height, width) / 64)) + 1
  size = (reach, reach, 1)
  low = ndimage.minimum_filter(template, size, mode='nearest')
  high = ndimage.maximum_filter(template, size, mode='nearest')
  return low, high


def difference(frames: np.ndarray, ground: Ground) -> np.ndarray:
  """Return how far each pixel is from being place, float32 [T, H, W].

  A pixel is place if its colour lies within those of the template around
  it, so that blur and small shifts of the texture do no harm.
  """
  low, high = _bounds(ground.place, ground.pencil, *frames.shape[1:3])
  beyond = np.maximum(np.maximum(low - frames, frames - high), 0)
  return np.sqrt((beyond**2).sum(-1))


def _torus_labels(mask):
  """Label connected pixels, also across the borders."""
  labels, count = ndimage.label(mask, np.ones((3, 3)))
  parent = list(range(count + 1))

  def root(i):
    while parent[i] != i:
      i = parent[i]
    return i

  for one, other in ((labels[0], labels[-1]), (labels[:, 0], labels[:, -1])):
    for a, b in zip(one, other, strict=True):
      if a and b:
        parent[root(a)] = root(b)
  roots = np.array([root(i) for i in range(count + 1)])
  return roots[labels]


def _circular_middle(weights):
  """Return the middle of mass of weights on a circle, in cells."""
  count = len(weights)
  angles = 2 * np.pi * (np.arange(count) + 0.5) / count
  angle = np.angle((weights * np.exp(1j * angles)).sum())
  return (angle / (2 * np.pi) % 1) * count - 0.5


def _biggest(mask):
  """Return the pixels of the biggest object: its pieces, but no specks."""
  wide = np.pad(mask, 1, mode='wrap')
  wide = ndimage.binary_dilation(wide, np.ones((3, 3)))[1:-1, 1:-1]
  # Pieces up to two pixels apart may be one contour, broken.
  groups = _torus_labels(wide) * mask
  group = groups == int(np.bincount(groups.ravel())[1:].argmax()) + 1
  pieces = _torus_labels(group)
  areas = np.bincount(pieces.ravel())
  areas[0] = 0
  return (areas >= _PIECE * areas.max())[pieces] & group


def find_blob(distance: np.ndarray) -> Blob | None:
  """Find the biggest object of a frame, or None where there is none.

  Args:
    distance: [H, W], as `difference` gives for a frame.
  """
  height, width = distance.shape
  mask = distance > _EDGE
  if not mask.any():
    return None
  # Colour that compression has smeared about a strong object is not object.
  usual = float(np.median(distance[mask]))
  edge = min(max(_EDGE, _EDGE_SHARE * usual), _EDGE_MOST)
  chosen = _biggest(distance > edge)
  soft = np.clip((distance / edge - 1) / _EDGE_WIDTH + 0.5, 0, 1)
  row = _circular_middle(chosen.sum(1))
  column = _circular_middle(chosen.sum(0))
  shift = (height // 2 - round(row), width // 2 - round(column))
  chosen = np.roll(chosen, shift, (0, 1))
  soft = np.roll(soft, shift, (0, 1))
  closed = ndimage.binary_closing(chosen, np.ones((3, 3)), 2) | chosen
  holes = ndimage.binary_fill_holes(closed)
  near = ndimage.binary_dilation(chosen)
  filled = np.where(holes, np.maximum(soft, holes & ~chosen), soft * near)
  area = float(filled.sum())
  if not _SMALLEST < area / soft.size < _LARGEST:
    return None
  middle_row = float((filled.sum(1) * np.arange(height)).sum() / area)
  middle_column = float((filled.sum(0) * np.arange(width)).sum() / area)
  return Blob(
    x=(middle_column - shift[1] + 0.5) / width % 1,
    y=(middle_row - shift[0] + 0.5) / height % 1,
    area=area,
    filled=filled.astype(np.float32),
    middle=(middle_row, middle_column),
  )
