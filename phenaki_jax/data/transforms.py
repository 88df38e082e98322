"""Conversion of images and video frames to RGB uint8 of one size.

Only this module handles colour modes and cropping.
"""

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

_WHITE = (255, 255, 255, 255)


def to_rgb(image: Image.Image) -> Image.Image:
  """Convert an image of any mode to RGB, 0 to 255.

  Transparent pixels are put on white, the usual background of web pages. The
  EXIF orientation is applied.
  """
  image = ImageOps.exif_transpose(image)
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
  scale = min(image.width / width, image.height / height)
  left = max(0.0, (image.width - width * scale) / 2)
  top = max(0.0, (image.height - height * scale) / 2)
  # Rounding must not move the crop outside the image.
  right = min(image.width, left + width * scale)
  bottom = min(image.height, top + height * scale)
  return np.array(
    image.resize(
      (width, height),
      Image.Resampling.BICUBIC,
      box=(left, top, right, bottom),
    )
  )
