"""Encode pictures as PNG and animated GIF, in memory."""

import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image


def encode_png(pixels: UInt8[np.ndarray, 'H W 3']) -> bytes:
  """Encode one image as PNG."""
  file = io.BytesIO()
  Image.fromarray(pixels).save(file, format='PNG')
  return file.getvalue()


def encode_gif(pixels: UInt8[np.ndarray, 'T H W 3'], *, fps: float) -> bytes:
  """Encode a video as a GIF that repeats for ever, at `fps` frames a second.

  GIF counts hundredths of a second, so the speed is rounded to that.
  """
  first, *rest = [Image.fromarray(frame) for frame in pixels]
  file = io.BytesIO()
  first.save(
    file,
    format='GIF',
    save_all=True,
    append_images=rest,
    duration=max(round(100.0 / fps), 2) * 10,
    loop=0,
  )
  return file.getvalue()
