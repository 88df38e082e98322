"""The grounds: plain tiles, the same in every frame of every clip.

Large areas dominate a reconstruction loss, so a ground with noise would take
the tokenizer's capacity from the characters.
"""

import functools

import numpy as np

from phenaki_jax.lpc import facts as facts_lib
from phenaki_jax.types import ImageU8

_TILE = 32  # side, in pixels
_COLOURS = {
  'grass': (86, 142, 70),
  'sand': (214, 186, 120),
  'stone': (128, 128, 136),
  'night': (34, 36, 70),
  'water': (70, 120, 190),
  'snow': (236, 240, 246),
}
# Tufts of grass, grains of sand, drifts of snow.
_GRAINS = (
  *((6, 8, 4, 2, -30), (8, 10, 2, 2, -18)),
  *((22, 24, 4, 2, -30), (24, 26, 2, 2, -18)),
)
# Additions to the colour of a tile: (top, left, height, width, amount).
_MARKS = {
  'grass': _GRAINS,
  'sand': _GRAINS,
  'snow': _GRAINS,
  'stone': (  # Joints between slabs.
    *((0, 0, 2, 32, -26), (16, 0, 2, 32, -26)),
    *((2, 0, 14, 2, -26), (18, 16, 14, 2, -26)),
  ),
  'night': ((14, 15, 2, 2, 150), (22, 28, 2, 2, 150), (1, 4, 2, 2, 150)),
  'water': ((4, 0, 2, 16, 40), (20, 16, 2, 16, 40)),
}


@functools.lru_cache(maxsize=64)
def ground(place: str, size: int) -> ImageU8:
  """Draw a place without a character.

  Args:
    place: one of `facts.PLACES`.
    size: side in pixels.

  Returns:
    A read-only array.

  Raises:
    UserError: the place is unknown.
  """
  facts_lib.check_value('place', place)
  tile = np.full((_TILE, _TILE, 3), _COLOURS[place])
  for top, left, height, width, amount in _MARKS[place]:
    tile[top : top + height, left : left + width] += amount
  repeats = -(-size // _TILE)
  image = np.tile(tile.clip(0, 255).astype(np.uint8), (repeats, repeats, 1))
  image = image[:size, :size]
  image.flags.writeable = False
  return image
