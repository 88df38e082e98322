"""Conversion of images and video frames to RGB uint8 of one size.

Only this module handles colour modes and cropping.
"""

import numpy as np
from jaxtyping import UInt8
from PIL import Image

_LEFT = 1.5  # averaged pixels for each pixel of the result, at least
_WHITE = (255, 255, 255, 255)
_ORIENTATION = 0x0112  # the EXIF tag
_TURNS = {
  2: Image.Transpose.FLIP_LEFT_RIGHT,
  3: Image.Transpose.ROTATE_180,
  4: Image.Transpose.FLIP_TOP_BOTTOM,
  5: Image.Transpose.TRANSPOSE,
  6: Image.Transpose.ROTATE_270,
  7: Image.Transpose.TRANSVERSE,
  8: Image.Transpose.ROTATE_90,
}
# The numbers of bytes of the types BYTE, SHORT and LONG.
_INTEGER_BYTES = {1: 1, 3: 2, 4: 4}


def to_rgb(image: Image.Image) -> Image.Image:
  """Convert an image of any mode to RGB, 0 to 255.

  Transparent pixels are put on white, the usual background of web pages. The
  EXIF orientation is applied.
  """
  turn = _TURNS.get(orientation(image.info.get('exif', b'')))
  if turn is not None:
    image = image.transpose(turn)
  if image.mode.startswith('I;16'):
    # `convert` would clip 16-bit values at 255 instead of scaling them.
    image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
  if image.mode in ('I', 'F'):
    values = np.asarray(image, np.float64)
    scale = 257.0 if values.max(initial=0) > 255 else 1.0
    image = Image.fromarray(
      np.clip(np.round(values / scale), 0, 255).astype(np.uint8)
    )
  if 'A' in image.getbands() or 'transparency' in image.info:
    layer = image.convert('RGBA')
    background = Image.new('RGBA', layer.size, _WHITE)
    image = Image.alpha_composite(background, layer)
  return image.convert('RGB')


def orientation(exif: bytes) -> int:
  """Return the orientation that EXIF data give, or 1, the upright one.

  No other tag is read, so damage to them has no effect.

  Args:
    exif: a TIFF header with its first directory, possibly after 'Exif'.
  """
  data = exif.removeprefix(b'Exif\0\0')
  big = data[:4] == b'MM\0*'
  if not big and data[:4] != b'II*\0':
    return 1

  def number(at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], 'big' if big else 'little')

  start = number(4, 4)
  end = min(start + 2 + 12 * number(start, 2), len(data))
  for at in range(start + 2, end, 12):
    if number(at, 2) == _ORIENTATION:
      return number(at + 8, _INTEGER_BYTES.get(number(at + 2, 2), 0))
  return 1


def fit(
  image: Image.Image, size: tuple[int, int]
) -> UInt8[np.ndarray, 'H W 3']:
  """Resize an RGB image to cover a size, and crop its centre.

  The crop is measured in fractions of a source pixel, so the aspect ratio is
  preserved exactly. Downscaling averages pixels.

  Args:
    image: in mode RGB.
    size: height and width of the result.
  """
  height, width = size
  if image.size == (width, height):
    return np.array(image)
  return np.array(
    image.resize(
      (width, height),
      Image.Resampling.BICUBIC,
      box=crop_box(image.width, image.height, size),
      reducing_gap=_reducing_gap(
        min(image.width / width, image.height / height)
      ),
    )
  )


def crop_box(
  width: int, height: int, size: tuple[int, int]
) -> tuple[float, float, float, float]:
  """Return the largest central part of an image with the aspect of a size.

  Args:
    width: of the image, in pixels.
    height: of the image.
    size: a height and a width.

  Returns:
    Left, top, right and bottom, in pixels and fractions of them.
  """
  scale = min(width / size[1], height / size[0])
  left = max(0.0, (width - size[1] * scale) / 2)
  top = max(0.0, (height - size[0] * scale) / 2)
  # Rounding must not move the crop outside the image.
  right = min(float(width), left + size[1] * scale)
  bottom = min(float(height), top + size[0] * scale)
  return left, top, right, bottom


def _reducing_gap(scale: float) -> float | None:
  """Return the argument of Pillow's `resize` for reducing an image by a scale.

  Squares of 2, 4, 8, ... pixels are averaged first, of which at least 1.5 are
  left for each pixel of the result. This is twice as fast, and the difference
  cannot be seen. Other numbers would alias fine stripes.
  """
  most = int(scale / _LEFT)
  if most < 2:
    return None
  factor = 1 << (most.bit_length() - 1)
  # Pillow rounds scale / gap down.
  return scale / (factor + 0.5)
