"""The colours of objects and places, as RGB in [0, 255]."""

import numpy as np

from phenaki_jax.storyworld import facts as facts_lib

# Chosen so that any two of them, and any of them and any place, lie far
# apart: a blurred or slightly off sample must still fall to the right name.
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


def object_rgb(colour: str) -> np.ndarray:
  """Return the fill of a `colour`, float32 [3] in [0, 255]."""
  facts_lib.check_value('colour', colour)
  return np.array(_OBJECT_RGB[colour], np.float32)


def rim_rgb(colour: str) -> np.ndarray:
  """Return the thin rim around a plain `colour`, float32 [3] in [0, 255]."""
  # A dark rim sets every fill off from every place; black needs a light one.
  if colour == 'black':
    return np.array((158, 152, 162), np.float32)
  return 0.16 * object_rgb(colour) + 8
