"""Separate the object from the place: the first part of reading a clip."""

import dataclasses
import functools
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, UInt8
from scipy import ndimage

from phenaki_jax.errors import UserError
from phenaki_jax.storyworld import backdrop as backdrop_lib
from phenaki_jax.storyworld import subset as subset_lib

_MAX_DISTANCE = 70.0  # RGB distances of pixels from a place are clipped here
_MAX_COST = 42.0  # mean distance above which no place is recognised
# RGB distance from the place at which an object begins: at least _EDGE, and
# _EDGE_SHARE of the median distance of the object, but at most _EDGE_MAX,
# because dark rims on a dark place are hardly further away.
_EDGE, _EDGE_SHARE, _EDGE_MAX = 24.0, 0.35, 40.0
# The soft mask rises from 0 to 1 over this range around the edge, relative to
# the distance of the edge.
_EDGE_WIDTH = 0.8
# Pieces of an object with a smaller area, relative to the largest piece, are
# dropped.
_MIN_PIECE = 0.2
_MIN_AREA, _MAX_AREA = 0.006, 0.5  # Area of an object, relative to the frame.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Background:
  """The place that a clip was read to show.

  Attributes:
    place: name of the place, None where none matches.
    confidence: margin to the second best place, in [0, 1].
    pencil: whether the place is drawn in pencil.
    pencil_confidence: margin of `pencil` to its opposite, in [0, 1].
  """

  place: str | None
  confidence: float
  pencil: bool
  pencil_confidence: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Blob:
  """The object of one frame.

  Attributes:
    x, y: centroid in [0, 1) of the frame's width and height.
    area: in pixels, with holes filled.
    filled: mask in [0, 1], soft at the edges, rolled over the torus so that the
      centroid is near the centre of the frame.
    centroid: (row, column) within `filled`.
  """

  x: float
  y: float
  area: float
  filled: Float32[np.ndarray, 'H W']
  centroid: tuple[float, float]


def margin(
  costs: Mapping[Any, float],
  best: Any,
  name: Callable[[Any], Any] = lambda key: key,
) -> float:
  """Return 1 - best cost / lowest cost of another name; 1 if there is none.

  Args:
    costs: by key; `best` is the key of the lowest one.
    name: maps a key to the name that is compared.
  """
  others = [cost for key, cost in costs.items() if name(key) != name(best)]
  return float(1 - costs[best] / max(min(others), 1e-6)) if others else 1.0


def find_background(
  frames: Float32[np.ndarray, 'T H W 3'], subset: subset_lib.Subset
) -> Background:
  """Find the place by template matching.

  Args:
    frames: the clip, in [0, 255]; an object may cover less than half of it.
    subset: gives the places and styles to choose from.
  """
  height, width = frames.shape[1:3]
  few = frames[:: max(1, len(frames) // 4)]
  costs = {}
  for place in subset.values('place'):
    for pencil in sorted({s == 'pencil' for s in subset.values('style')}):
      template = backdrop_lib.backdrop(place, height, width, pencil=pencil)
      distance = np.sqrt(((few - template) ** 2).sum(-1))
      costs[place, pencil] = float(np.minimum(distance, _MAX_DISTANCE).mean())
  best = min(costs, key=costs.__getitem__)
  return Background(
    place=best[0] if costs[best] < _MAX_COST else None,
    confidence=margin(costs, best, operator.itemgetter(0)),
    pencil=best[1],
    pencil_confidence=margin(costs, best, operator.itemgetter(1)),
  )


@functools.lru_cache(maxsize=64)
def _bounds(place, pencil, height, width):
  """Return the minimum and maximum of the template around each pixel."""
  template = backdrop_lib.backdrop(place, height, width, pencil=pencil)
  reach = 2 * max(1, round(min(height, width) / 64)) + 1
  size = (reach, reach, 1)
  low = ndimage.minimum_filter(template, size, mode='nearest')
  high = ndimage.maximum_filter(template, size, mode='nearest')
  return low, high


def difference(
  frames: Float32[np.ndarray, 'T H W 3'], background: Background
) -> Float32[np.ndarray, 'T H W']:
  """Return the RGB distance of each pixel from the place.

  It is 0 for colours within the range of the template around the pixel, which
  makes it robust to blur and to small shifts of the texture.
  """
  low, high = _bounds(background.place, background.pencil, *frames.shape[1:3])
  beyond = np.maximum(np.maximum(low - frames, frames - high), 0)
  return np.sqrt((beyond**2).sum(-1))


def _torus_labels(mask):
  """Label connected pixels; opposite borders are connected."""
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


def _circular_mean(weights):
  """Return the centroid of weights on a circle, in cells."""
  count = len(weights)
  angles = 2 * np.pi * (np.arange(count) + 0.5) / count
  angle = np.angle((weights * np.exp(1j * angles)).sum())
  return (angle / (2 * np.pi) % 1) * count - 0.5


def _grouped(mask):
  """Label objects; pieces up to two pixels apart may be one broken outline."""
  wide = np.pad(mask, 1, mode='wrap')
  wide = ndimage.binary_dilation(wide, np.ones((3, 3)))[1:-1, 1:-1]
  return _torus_labels(wide) * mask


def _largest(mask):
  """Return the mask of the largest object, without small specks."""
  groups = _grouped(mask)
  group = groups == int(np.bincount(groups.ravel())[1:].argmax()) + 1
  pieces = _torus_labels(group)
  areas = np.bincount(pieces.ravel())
  areas[0] = 0
  return (areas >= _MIN_PIECE * areas.max())[pieces] & group


def _edge(distance):
  """Return the distance at which an object begins.

  A relative edge excludes colours that compression has smeared around a
  contrasting object.
  """
  median = float(np.median(distance[distance > _EDGE]))
  return min(max(_EDGE, _EDGE_SHARE * median), _EDGE_MAX)


def count_objects(distance: Float[np.ndarray, 'H W']) -> int:
  """Count the separate objects of a frame, without specks.

  Args:
    distance: what `difference` returns for the frame.
  """
  if not (distance > _EDGE).any():
    return 0
  areas = np.bincount(_grouped(distance > _edge(distance)).ravel())[1:]
  return int((areas > _MIN_AREA * distance.size).sum())


def read_depth(
  frames: UInt8[np.ndarray, 'T H W 3'], subset: str | subset_lib.Subset
) -> UInt8[np.ndarray, 'T H W']:
  """Return the relative inverse depth of a clip: the place is 0, objects 255.

  Args:
    frames: the clip.
    subset: a name or a `Subset`, which gives the places and styles.

  Raises:
    UserError: the clip shows no place of the subset.
  """
  pixels = frames.astype(np.float32)
  found = find_background(pixels, subset_lib.subset_named(subset))
  if found.place is None:
    raise UserError(
      'the clip shows no place of StoryWorld, from which its depth would be '
      'known; give --depth, maps of it or the weights of DPT'
    )
  distance = difference(pixels, found)
  # What an outline encloses is near, too.
  near = [ndimage.binary_fill_holes(frame > _EDGE) for frame in distance]
  return np.where(near, 255, 0).astype(np.uint8)


def find_blob(distance: Float[np.ndarray, 'H W']) -> Blob | None:
  """Find the largest object of a frame; return None if there is none.

  Args:
    distance: what `difference` returns for the frame.
  """
  height, width = distance.shape
  if not (distance > _EDGE).any():
    return None
  edge = _edge(distance)
  chosen = _largest(distance > edge)
  soft = np.clip((distance / edge - 1) / _EDGE_WIDTH + 0.5, 0, 1)
  row = _circular_mean(chosen.sum(1))
  column = _circular_mean(chosen.sum(0))
  shift = (height // 2 - round(row), width // 2 - round(column))
  chosen = np.roll(chosen, shift, (0, 1))
  soft = np.roll(soft, shift, (0, 1))
  closed = ndimage.binary_closing(chosen, np.ones((3, 3)), 2) | chosen
  holes = ndimage.binary_fill_holes(closed)
  near = ndimage.binary_dilation(chosen)
  filled = np.where(holes, np.maximum(soft, holes & ~chosen), soft * near)
  area = float(filled.sum())
  if not _MIN_AREA < area / soft.size < _MAX_AREA:
    return None
  row = float((filled.sum(1) * np.arange(height)).sum() / area)
  column = float((filled.sum(0) * np.arange(width)).sum() / area)
  return Blob(
    x=(column - shift[1] + 0.5) / width % 1,
    y=(row - shift[0] + 0.5) / height % 1,
    area=area,
    filled=filled.astype(np.float32),
    centroid=(row, column),
  )
