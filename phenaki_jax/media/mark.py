"""An invisible mark in the brightness of frames: a spread-spectrum code.

The frame is divided into 32 x 32 cells, and the brightness of each is raised or
lowered a little, in a fixed pattern. A detector averages the frames of a film,
and correlates the cells with the pattern (Cox et al., IEEE Transactions on
Image Processing 6(12), 1997). It needs no original. Who has this code can
remove or add the mark: it helps to find films of this package, and it is no
proof. docs/serving.md has its measured detection rates.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator

import av
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from phenaki_jax.errors import UserError
from phenaki_jax.media.frames import checked_frame, enlarge
from phenaki_jax.types import ImageU8

STRENGTH = 2
"""How much brighter or darker a cell becomes, of 255."""

THRESHOLD = 6.0
"""A film with at least this score has the mark."""

_CELLS = 32
_LUMA = np.array([0.299, 0.587, 0.114])
# A cell that differs from its neighbours by more tells nothing, as at an edge.
_MOST = 4.0


def _pattern() -> Float[np.ndarray, 'rows columns']:
  """Return -1 or 1 for each cell, half of both."""
  count = _CELLS * _CELLS
  digest = hashlib.shake_256(b'phenaki_jax').digest(4 * count)
  ranks = np.argsort(np.frombuffer(digest, '<u4'), kind='stable')
  signs = np.where(np.argsort(ranks, kind='stable') < count // 2, 1.0, -1.0)
  return signs.reshape(_CELLS, _CELLS)


_PATTERN = _pattern()


def embed(
  frame: ImageU8, *, strength: int = STRENGTH, min_height: int = 256
) -> UInt8[np.ndarray, 'rows columns 3']:
  """Enlarge a frame, and add the mark to it.

  Args:
    frame: uint8 RGB [H, W, 3].
    strength: see `STRENGTH`; 0 adds nothing.
    min_height: see `frames.enlarge`; the mark needs cells of several pixels.
  """
  result = enlarge(checked_frame(frame), min_height)
  rows, columns = (
    np.arange(size) * _CELLS // size for size in result.shape[:2]
  )
  change = strength * _PATTERN[rows][:, columns].astype(np.int16)
  return np.clip(result + change[..., None], 0, 255).astype(np.uint8)


def score(frames: Iterable[np.ndarray]) -> float:
  """Return how clearly the frames of a film have the mark.

  Films without it have scores of about mean 0 and standard deviation 1.

  Args:
    frames: uint8 RGB [H, W, 3] of one size, of any scale.

  Raises:
    UserError: there are no frames.
  """
  total, count = np.zeros((_CELLS, _CELLS)), 0
  for frame in frames:
    luma = Image.fromarray((checked_frame(frame) @ _LUMA).astype(np.float32))
    # A box averages all pixels of a cell, whatever the scale of the frame.
    cells = luma.resize((_CELLS, _CELLS), Image.Resampling.BOX)
    total += _details(np.asarray(cells, np.float64))
    count += 1
  if not count:
    raise UserError('there are no frames in which a mark could be')
  details = total / count
  norm = float(np.sqrt(np.sum(details**2)))
  return float(np.sum(details * _PATTERN)) / norm if norm else 0.0


def score_film(path: str | os.PathLike[str]) -> float:
  """Return the score of a film; see `score`.

  Raises:
    UserError: it cannot be read.
  """
  return score(_frames(path))


def _frames(path: str | os.PathLike[str]) -> Iterator[np.ndarray]:
  try:
    with av.open(os.fspath(path)) as container:
      for frame in container.decode(video=0):
        yield frame.to_ndarray(format='rgb24')
  except (av.error.FFmpegError, OSError, IndexError) as error:
    raise UserError(f'cannot read the film {path}: {error}') from error


def _details(
  cells: Float[np.ndarray, 'rows columns'],
) -> Float[np.ndarray, 'rows columns']:
  """Return how much each cell differs from its neighbours, with a limit."""
  padded = np.pad(cells, 1, mode='edge')
  around = [
    padded[1 + i : 1 + i + _CELLS, 1 + j : 1 + j + _CELLS]
    for i in (-1, 0, 1)
    for j in (-1, 0, 1)
    if (i, j) != (0, 0)
  ]
  return np.clip(cells - np.median(around, 0), -_MOST, _MOST)
