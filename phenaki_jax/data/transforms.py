"""From any picture to RGB uint8 of one size, with its aspect kept.

The one place that knows about colour modes and cropping; images and the
frames of clips go through the same functions.
"""

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

_WHITE = (255, 255, 255, 255)


def to_rgb(image: Image.Image) -> Image.Image:
  """Turn a picture of any mode into RGB, 0 to 255.

  What is transparent shows white, the ground that web pages put behind it.
  The orientation of a camera picture (EXIF) is applied.
  """
  image = ImageOps.exif_transpose(image)
  if image.mode.startswith('I;16'):
    # `convert` would clip 16 bits at 255 instead of scaling them.
    image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
  if image.mode in ('I', 'F'):
    values = np.asarray(image, np.float64)
    scale = 257.0 if values.max(initial=0) > 255 else 1.0
    image = Image.fromarray(
      np.clip(np.round(values / scale), 0, 255).astype(np.uint8)
    )
  if 'A' in image.getbands() or 'transparency' in image.info:
    layer = image.convert('RGBA')
    ground = Image.new('RGBA', layer.size, _WHITE)
    image = Image.alpha_composite(ground, layer)
  return image.convert('RGB')


def fit(
  image: Image.Image, size: tuple[int, int]
) -> UInt8[np.ndarray, 'H W 3']:
  """Scale an RGB picture to cover a size, and crop its centre.

  Args:
    image: in mode RGB.
    size: height and width of the result.

  Returns:
    The pixels. The crop is taken in fractions of a source pixel, so the
    aspect is kept exactly; scaling down averages, it does not skip pixels.
  """
  height, width = size
  if image.size == (width, height):
    return np.array(image)
  scale = min(image.width / width, image.height / height)
  left = max(0.0, (image.width - width * scale) / 2)
  top = max(0.0, (image.height - height * scale) / 2)
  # Rounding must not put the crop outside the image.
  right = min(image.width, left + width * scale)
  bottom = min(image.height, top + height * scale)
  return np.array(
    image.resize(
      (width, height),
      Image.Resampling.BICUBIC,
      box=(left, top, right, bottom),
    )
  )
