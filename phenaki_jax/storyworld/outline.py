"""The outlines of the shapes as signed distances, negative inside.

Each function takes x (to the right) and y (down) in radii, from the centre.
"""

import math

import numpy as np
from jaxtyping import Float


def _circle(x, y):
  return np.sqrt(x * x + y * y) - 1


def _square(x, y):
  return np.maximum(np.abs(x), np.abs(y)) - 0.88


def _triangle(x, y):
  # Three half-planes. As y points down, the tip is at the top.
  side = 0.8660254 * np.abs(x) - 0.5 * y
  return np.maximum(side, y) - 0.68


def _star(x, y):
  # Ten edges that mirror one another. Fold the angle into half a point, where
  # the edge runs from the tip (1.34, 0) to the notch at 36 degrees.
  radius = np.sqrt(x * x + y * y)
  point = 2 * math.pi / 5
  angle = np.arctan2(x, -y)
  angle = np.abs(angle - point * np.round(angle / point))
  tip, notch = 1.34, 0.62
  notch_x = notch * math.cos(point / 2)
  notch_y = notch * math.sin(point / 2)
  length = math.hypot(tip - notch_x, notch_y)
  normal_x, normal_y = notch_y / length, (tip - notch_x) / length
  along_normal = np.cos(angle) * normal_x + np.sin(angle) * normal_y
  return radius * along_normal - tip * normal_x


def _cross(x, y):
  wide, tall = np.abs(x), np.abs(y)
  arms, length = np.minimum(wide, tall), np.maximum(wide, tall)
  return np.maximum(arms - 0.42, length - 1.12)


def _heart(x, y):
  # A square that stands on a corner, and a disc on each of its upper edges.
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


def signed_distance(
  shape: str, x: Float[np.ndarray, '...'], y: Float[np.ndarray, '...']
) -> Float[np.ndarray, '...']:
  """Compute the signed distance to the outline of a shape of radius 1.

  Args:
    shape: one of `SHAPES`.
    x, y: positions to the right of and below the centre, in radii; they must
      broadcast.

  Returns:
    Distances in radii, negative inside. They are exact next to straight edges
    and arcs and a lower bound elsewhere.
  """
  return _DISTANCES[shape](x, y)
