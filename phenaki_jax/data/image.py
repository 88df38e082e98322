"""Decoding of untrusted image files."""

import io
import struct
import warnings
import zlib

from PIL import Image

from phenaki_jax.data import schema, transforms

MAX_PIXELS = 2**26
"""Larger images are rejected before their pixels are allocated."""

# What Pillow raises on damaged files. TypeError would be our own bug.
_DECODER_ERRORS = (
  *(OSError, SyntaxError, ValueError, LookupError, ArithmeticError, EOFError),
  *(MemoryError, RuntimeError, struct.error, zlib.error),
  Image.DecompressionBombError,
)

# First bytes of each supported format, and Pillow's name of it.
_MAGIC = (
  (b'\xff\xd8\xff', 'JPEG'),
  (b'\x89PNG\r\n\x1a\n', 'PNG'),
  (b'GIF87a', 'GIF'),
  (b'GIF89a', 'GIF'),
  (b'BM', 'BMP'),
)


def decode(data: bytes) -> Image.Image:
  """Decode JPEG, PNG, WebP, GIF (its first frame) or BMP into RGB.

  Raises:
    schema.DecodeError: the reason is 'empty_file', 'not_an_image',
      'too_many_pixels' or 'corrupt_' and the format.
  """
  name = _format(data)
  try:
    with warnings.catch_warnings():
      # MAX_PIXELS is below the size at which Pillow warns.
      warnings.simplefilter('ignore', Image.DecompressionBombWarning)
      with Image.open(io.BytesIO(data), formats=[name]) as image:
        if image.width * image.height > MAX_PIXELS:
          raise schema.DecodeError(
            'too_many_pixels',
            f'{image.width} x {image.height}, at most {MAX_PIXELS}',
          )
        return transforms.to_rgb(image)
  except schema.DecodeError:
    raise
  except _DECODER_ERRORS as error:
    reason = f'corrupt_{name.lower()}'
    raise schema.DecodeError(reason, _first_line(error)) from error


def _format(data: bytes) -> str:
  if not data:
    raise schema.DecodeError('empty_file')
  for magic, name in _MAGIC:
    if data.startswith(magic):
      return name
  if data[:4] == b'RIFF' and data[8:12] == b'WEBP':
    return 'WEBP'
  raise schema.DecodeError('not_an_image', f'it begins with {data[:16]!r}')


def _first_line(error: Exception) -> str:
  return (str(error).splitlines() or [''])[0][:200] or type(error).__name__
