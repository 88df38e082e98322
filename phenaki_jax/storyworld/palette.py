"""The colours of objects and places, as RGB in [0, 255]."""

import numpy as np
from jaxtyping import Float32

# Any two colours, and any colour and any place, are far apart, so that blurred
# or slightly wrong pixels are still given the right name.
_OBJECT_RGB = {
  'red': (222, 30, 38),
  'orange': (255, 138, 0),
  'yellow': (255, 228, 20),
  'green': (0, 158, 48),
  'blue': (32, 70, 232),
  'purple': (134, 32, 190),
  'white': (255, 255, 255),
  'black': (16, 16, 20),
  'pink': (255, 128, 196),
  'cyan': (40, 226, 236),
}

PAPER_RGB = (238, 234, 224)
GRAPHITE_RGB = (62, 62, 68)


def object_rgb(colour: str) -> Float32[np.ndarray, '3']:
  """Return the fill colour of an object; `colour` is one of `COLOURS`."""
  return np.array(_OBJECT_RGB[colour], np.float32)


def rim_rgb(colour: str) -> Float32[np.ndarray, '3']:
  """Return the colour of the thin rim of an object in the plain style."""
  # A dark rim separates the fill from any place. Black needs a light one.
  if colour == 'black':
    return np.array((158, 152, 162), np.float32)
  return 0.16 * object_rgb(colour) + 8
