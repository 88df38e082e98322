"""The outlines of the shapes as signed distances, negative inside."""

import math

import numpy as np

from phenaki_jax.storyworld import facts as facts_lib

# Radians after which a turning shape looks the same again; 0 for a circle.
SYMMETRY = {
  'circle': 0.0,
  'square': math.pi / 2,
  'triangle': 2 * math.pi / 3,
  'star': 2 * math.pi / 5,
  'cross': math.pi / 2,
  'heart': 2 * math.pi,
}


def _circle(x, y):
  return np.sqrt(x * x + y * y) - 1


def _square(x, y):
  return np.maximum(np.abs(x), np.abs(y)) - 0.88


def _triangle(x, y):
  # Three half-planes; y points down, the tip up.
  side = 0.8660254 * np.abs(x) - 0.5 * y
  return np.maximum(side, y) - 0.68


def _star(x, y):
  # Five mirrored pairs of edges: fold the angle into half a point, whose
  # edge runs from the tip (1.34, 0) to the notch at 36 degrees.
  radius = np.sqrt(x * x + y * y)
  step = 2 * math.pi / 5
  angle = np.arctan2(x, -y)
  angle = np.abs(angle - step * np.round(angle / step))
  tip, notch = 1.34, 0.62
  notch_x = notch * math.cos(step / 2)
  notch_y = notch * math.sin(step / 2)
  length = math.hypot(tip - notch_x, notch_y)
  normal_x, normal_y = notch_y / length, (tip - notch_x) / length
  return (
    radius * (np.cos(angle) * normal_x + np.sin(angle) * normal_y)
    - tip * normal_x
  )


def _cross(x, y):
  wide, tall = np.abs(x), np.abs(y)
  return np.maximum(
    np.minimum(wide, tall) - 0.42, np.maximum(wide, tall) - 1.12
  )


def _heart(x, y):
  # A square on its corner with a disc on each of its two upper edges.
  x, y = np.abs(x), y + 0.04
  half = 0.62
  turned_x, turned_y = (x - y) * 0.70710678, (x + y) * 0.70710678
  square = np.maximum(np.abs(turned_x), np.abs(turned_y)) - half
  disc = np.sqrt((turned_x - half) ** 2 + turned_y**2) - half
  return np.minimum(square, disc)


_DISTANCES = {
  'circle': _circle,
  'square': _square,
  'triangle': _triangle,
  'star': _star,
  'cross': _cross,
  'heart': _heart,
}


def signed_distance(shape: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """Return the signed distance to the outline of a `shape` of radius 1.

  `x` (to the right) and `y` (down) are measured from the shape's middle, in
  radii, and have any shapes that broadcast. Distances are exact next to the
  straight edges and rims and a lower bound elsewhere, in radii.
  """
  facts_lib.check_value('shape', shape)
  return _DISTANCES[shape](x, y)
