"""Where the character of the sprite world is, found by its known ground."""

import dataclasses
import functools

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from scipy import ndimage

from phenaki_jax.lpc import degradation
from phenaki_jax.lpc.ground import ground
from phenaki_jax.types import VideoU8

_FULL = 128  # side at which data sets are rendered, in pixels
# RGB distance beyond the colours of the ground at which a character begins.
_EDGE = 36.0
# Pieces up to this share of the shorter side apart belong to one character: a
# weapon, or clothes that have the colour of the ground between them.
_GAP = 5 / 64
# Of a character, relative to a square of the shorter side.
_MIN_AREA, _MAX_AREA = 0.006, 0.3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figures:
  """The characters in the frames of a clip.

  Attributes:
    count: number of separate characters in each frame.
    x, y: centre of the largest one, in shares of the frame; nan without any.
    box: pixels of the box around the largest one.
  """

  count: Int[np.ndarray, 'T']
  x: Float[np.ndarray, 'T']
  y: Float[np.ndarray, 'T']
  box: Bool[np.ndarray, 'T H W']


def find_figures(frames: VideoU8, place: str) -> Figures:
  """Find what differs from the ground of a place.

  The centre is the median of the pixels, which a thin weapon hardly moves. In
  frames that are not square, the ground goes on at the scale of the shorter
  side, as models of square clips draw it.

  Args:
    frames: of any height and width.
    place: one of `lpc.facts.PLACES`.
  """
  total, height, width = frames.shape[:3]
  side = min(height, width)
  low, high = _bounds(place, height, width)
  beyond = np.maximum(np.maximum(low - frames, frames - high), 0)
  masks = np.sqrt((beyond**2).sum(-1)) > _EDGE
  found = Figures(
    count=np.zeros(total, int),
    x=np.full(total, np.nan),
    y=np.full(total, np.nan),
    box=np.zeros(masks.shape, bool),
  )
  reach = max(1, round(_GAP * side / 2))
  near = np.ones((2 * reach + 1, 2 * reach + 1))
  for index, mask in enumerate(masks):
    groups = ndimage.label(ndimage.binary_dilation(mask, near))[0] * mask
    areas = np.bincount(groups.ravel(), minlength=2)[1:] / side**2
    is_large = areas > _MIN_AREA
    # An area larger than a character can cover counts as two.
    found.count[index] = is_large.sum() + (areas.max() > _MAX_AREA)
    if is_large.any():
      rows, columns = np.nonzero(groups == areas.argmax() + 1)
      found.x[index] = (np.median(columns) + 0.5) / width
      found.y[index] = (np.median(rows) + 0.5) / height
      area = np.s_[
        rows.min() : rows.max() + 1, columns.min() : columns.max() + 1
      ]
      found.box[index][area] = True
  return found


@functools.lru_cache(maxsize=64)
def _bounds(
  place: str, height: int, width: int
) -> tuple[Float32[np.ndarray, 'H W 3'], Float32[np.ndarray, 'H W 3']]:
  """Return the least and the largest colour around each pixel of a ground."""
  longer = max(height, width)
  full = round(_FULL * longer / min(height, width))
  square = degradation.resize(ground(place, full)[None], longer)[0]
  tile = square[:height, :width]
  size = (3, 3, 1)
  return (
    ndimage.minimum_filter(tile, size, mode='nearest').astype(np.float32),
    ndimage.maximum_filter(tile, size, mode='nearest').astype(np.float32),
  )
