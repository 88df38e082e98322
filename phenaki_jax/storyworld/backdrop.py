"""The places: static backgrounds with a soft two-tone texture.

A painter maps coordinates, in shorter sides of the frame, to a base colour and
layers of (opacity in [0, 1], colour). Colours are RGB in [0, 255].
"""

import functools
import math

import numpy as np
from jaxtyping import Float32

_OVERSAMPLE = 4  # samples per pixel and dimension, for anti-aliasing


def _hash(i, j, salt):
  """Return a fixed pseudo-random number in [0, 1) for each cell (i, j)."""
  value = np.sin(i * 127.1 + j * 311.7 + salt * 74.7) * 43758.5453
  return value - np.floor(value)


def _band(distance, half_width, soft=0.006):
  """Return 1 where `distance` < `half_width`, else 0, with a soft edge."""
  return np.clip((half_width - distance) / soft + 0.5, 0, 1)


def _cells(x, y, across, down, *, shift=0.0):
  """Return the cell (i, j) of each position, and the position within it.

  There are `across` x `down` cells per shorter side of the frame; every second
  row is moved to the left by `shift` cells.
  """
  y = y * down
  j = np.floor(y)
  x = x * across + shift * (j % 2)
  i = np.floor(x)
  return i, j, x - i, y - j


def _grass(x, y):
  # Tufts of three blades on staggered rows.
  i, j, u, v = _cells(x, y, 5, 6, shift=0.5)
  u = u - 0.5 + 0.3 * (_hash(i, j, 1) - 0.5)
  v = v - 0.78
  height = np.clip(-v, 0, 1)
  tuft = np.zeros_like(x)
  for lean, top in ((-0.4, 0.42), (0.0, 0.6), (0.4, 0.42)):
    blade = np.abs(u - lean * height) - 0.07 * (1 - height / top)
    inside = (v < 0.02) & (height < top)
    tuft = np.maximum(tuft, inside * _band(blade, 0.0, 0.04))
  light = 0.5 + 0.5 * np.sin(2 * math.pi * (x + 0.4 * y) + 1)
  return (
    (124, 172, 84),
    ((0.9 * tuft, (88, 136, 58)), (0.25 * light, (150, 192, 100))),
  )


def _sand(x, y):
  wave = y * 6 + 0.35 * np.sin(2 * math.pi * x * 1.5) + 0.2 * np.sin(9 * x)
  ripple = 0.5 + 0.5 * np.sin(2 * math.pi * wave)
  return (222, 194, 144), ((0.9 * ripple**3, (200, 168, 116)),)


def _sea(x, y):
  # Rows of scallops, each a crest of foam.
  _, _, u, v = _cells(x, y, 4, 5, shift=0.5)
  u = u - 0.5
  crest = np.abs(v - 0.25 - 1.6 * u * u)
  depth = np.clip(y, 0, 1)
  return (
    (58, 130, 158),
    (
      (0.35 * depth, (34, 98, 132)),
      (_band(crest, 0.085, 0.06), (104, 170, 190)),
    ),
  )


def _night(x, y):
  i, j, u, v = _cells(x, y, 5, 5)
  u = u - 0.25 - 0.5 * _hash(i, j, 2)
  v = v - 0.25 - 0.5 * _hash(i, j, 3)
  bright = 0.45 + 0.55 * _hash(i, j, 4)
  star = np.exp(-(u * u + v * v) / 0.012) * (_hash(i, j, 5) < 0.75) * bright
  glow = np.clip(y, 0, 1)
  return (48, 43, 106), ((0.5 * glow, (74, 62, 136)), (star, (214, 208, 170)))


def _brick(x, y):
  i, j, u, v = _cells(x, y, 3, 6, shift=0.5)
  u, v = np.abs(u - 0.5), np.abs(v - 0.5)
  mortar = np.maximum(_band(0.5 - u, 0.05, 0.02), _band(0.5 - v, 0.1, 0.04))
  tone = _hash(i, j, 6)
  return (
    (160, 92, 74),
    ((0.6 * tone, (138, 74, 60)), (mortar, (192, 150, 130))),
  )


def _road(x, y):
  # Lanes across the frame with dashes between them.
  lane = np.abs((y * 2) % 1 - 0.5) / 2
  dash = _band(np.abs((x * 3) % 1 - 0.5), 0.3, 0.02) * _band(lane, 0.022)
  kerb = _band(np.minimum(y % 1, 1 - y % 1), 0.03)
  i, j, _, _ = _cells(x, y, 16, 16)
  grain = _hash(i, j, 7)
  return (
    (116, 116, 122),
    (
      (0.35 * grain, (96, 96, 104)),
      (dash, (188, 186, 170)),
      (kerb, (150, 148, 144)),
    ),
  )


def _snow(x, y):
  i, j, u, v = _cells(x, y, 6, 6)
  u = u - 0.3 - 0.4 * _hash(i, j, 8)
  v = v - 0.3 - 0.4 * _hash(i, j, 9)
  flake = _band(np.sqrt(u * u + v * v), 0.15 + 0.12 * _hash(i, j, 10), 0.1)
  drift = 0.5 + 0.5 * np.sin(2 * math.pi * (y * 2 + 0.15 * np.sin(7 * x)))
  return (
    (192, 208, 230),
    ((0.4 * drift, (178, 196, 222)), (flake, (222, 232, 244))),
  )


_PAINTERS = {
  'grass': _grass,
  'sand': _sand,
  'sea': _sea,
  'night': _night,
  'brick': _brick,
  'road': _road,
  'snow': _snow,
}


def _grid(height, width):
  """Return the coordinates x and y of all samples of a frame."""
  x, y = (
    (np.arange(count * _OVERSAMPLE) + 0.5) / _OVERSAMPLE / min(height, width)
    for count in (width, height)
  )
  return np.meshgrid(x, y)


def _shrink(image, height, width):
  """Average the samples of each pixel; return a read-only array."""
  image = image.reshape(height, _OVERSAMPLE, width, _OVERSAMPLE, -1)
  image = np.clip(image.mean((1, 3)).astype(np.float32), 0, 255)
  image.flags.writeable = False
  return image


@functools.lru_cache(maxsize=32)
def hatching(height: int, width: int) -> Float32[np.ndarray, 'H W 1']:
  """Return read-only pencil strokes over the frame, in [0, 1]."""
  x, y = _grid(height, width)
  wobble = 0.12 * np.sin(5 * (x - y))
  strokes = 0.5 + 0.5 * np.sin(2 * math.pi * (6.5 * (x + y) + wobble))
  return _shrink(np.clip(1.6 * strokes - 0.3, 0, 1), height, width)


@functools.lru_cache(maxsize=128)
def backdrop(
  place: str, height: int, width: int, *, pencil: bool = False
) -> Float32[np.ndarray, 'H W 3']:
  """Draw an empty place.

  Args:
    place: one of `PLACES`.
    height, width: size of the frame in pixels.
    pencil: draw a greyish, hatched sketch.

  Returns:
    A read-only array in [0, 255].
  """
  x, y = _grid(height, width)
  base, layers = _PAINTERS[place](x, y)
  image = np.broadcast_to(np.array(base, float), (*x.shape, 3))
  for opacity, rgb in layers:
    image = image + opacity[..., None] * (np.array(rgb, float) - image)
  if pencil:
    # Mostly grey with a tint of the place's colour, brightened towards paper.
    # The texture has more contrast than in the coloured place.
    grey = image @ np.array((0.3, 0.59, 0.11))
    texture = grey - grey.mean()
    tint = 0.45 * (image.mean((0, 1)) - image.mean())
    tone = 178 + 0.3 * (grey.mean() - 128) + 1.1 * texture
    strokes = np.sin(2 * math.pi * 8 * (x - y) + np.sin(4 * (x + y)))
    image = (tone + 7 * strokes)[..., None] + tint
  return _shrink(image, height, width)
