"""A visible label on frames, which says that they are generated."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from phenaki_jax.media import fonts
from phenaki_jax.media.frames import checked_frame, enlarge
from phenaki_jax.media.provenance import NOTICE
from phenaki_jax.types import ImageU8

_SIZE = 12
_MARGIN = 4


def label(
  frame: ImageU8, *, text: str = NOTICE, min_height: int = 256
) -> UInt8[np.ndarray, 'rows columns 3']:
  """Enlarge a frame, and write a text into its lower right corner.

  A frame that is narrower than the text shows the beginning of the text.

  Args:
    frame: uint8 RGB [H, W, 3].
    text: in white on a dark rectangle.
    min_height: see `frames.enlarge`; small frames have no room for text.
  """
  result = enlarge(checked_frame(frame), min_height)
  patch = _patch(text)[: result.shape[0], : result.shape[1]]
  result[-patch.shape[0] :, -patch.shape[1] :] = patch
  return result


def film_frame(
  frame: np.ndarray,
  provenance: Mapping[str, Any] | None,
  *,
  min_height: int,
  labelled: bool = True,
) -> UInt8[np.ndarray, 'rows columns 3']:
  """Return a frame as every writer of films shows it: enlarged and labelled.

  The label is the notice 'AI-generated' in the lower right corner. Frames that
  are not generated have none: their provenance gives another notice, or there
  is no provenance.

  Args:
    frame: uint8 RGB [H, W, 3].
    provenance: of the film.
    min_height: see `frames.enlarge`.
    labelled: False leaves the label out.

  Raises:
    UserError: for another dtype or shape.
  """
  is_generated = (
    provenance is not None and provenance.get('notice', NOTICE) == NOTICE
  )
  if labelled and is_generated:
    return label(frame, min_height=min_height)
  return enlarge(checked_frame(frame), min_height)


@functools.lru_cache(maxsize=4)
def _patch(text: str) -> np.ndarray:
  width = round(fonts.length(text, _SIZE)) + 2 * _MARGIN
  height = _SIZE + 2 * _MARGIN
  picture = Image.new('RGB', (width, height), (24, 24, 24))
  position = (_MARGIN, height - _MARGIN - 2)
  fonts.draw(ImageDraw.Draw(picture), position, text, (255, 255, 255), _SIZE)
  return np.asarray(picture)
