"""Checks and sizes of frames, uint8 RGB [H, W, 3]."""

import numpy as np
from jaxtyping import UInt8

from phenaki_jax.errors import UserError
from phenaki_jax.types import ImageU8


def checked_frame(frame: np.ndarray) -> ImageU8:
  """Return the frame as an array.

  Raises:
    UserError: unless it is uint8 [H, W, 3].
  """
  frame = np.asarray(frame)
  if frame.dtype != np.uint8:
    raise UserError(
      f'a frame holds uint8 values 0..255, not {frame.dtype}; convert model '
      'outputs with phenaki_jax.pixels.to_uint8'
    )
  if frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
    raise UserError(f'a frame has the shape [H, W, 3] (RGB), not {frame.shape}')
  return frame


def checked_fps(fps: float | int) -> float | int:
  """Return the frame rate.

  Raises:
    UserError: unless it is above 0 and at most 1000.
  """
  if not 0 < fps <= 1000:
    raise UserError(f'fps is {fps}, but must be above 0 and at most 1000')
  return fps


def enlarge(
  frame: ImageU8, min_height: int
) -> UInt8[np.ndarray, 'rows columns 3']:
  """Repeat pixels by the smallest integer factor that gives `min_height`."""
  factor = max(1, -(-min_height // frame.shape[0]))
  return frame.repeat(factor, axis=0).repeat(factor, axis=1)


def spread(count: int, most: int) -> list[int]:
  """Choose at most `most` indices below `count`, evenly, with both ends."""
  chosen = np.linspace(0, count - 1, min(count, most)).round()
  return [int(i) for i in chosen]
