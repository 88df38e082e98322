"""Decoding of untrusted image files."""

import io
import warnings

from PIL import Image

from phenaki_jax.data import containers, schema, transforms

MAX_PIXELS = 2**26
"""Larger images are rejected before their pixels are allocated."""

# First bytes of each supported format, and Pillow's name of it.
_MAGIC = (
  (b'\xff\xd8\xff', 'JPEG'),
  (b'\x89PNG\r\n\x1a\n', 'PNG'),
  (b'GIF87a', 'GIF'),
  (b'GIF89a', 'GIF'),
  (b'BM', 'BMP'),
)
_UNSUPPORTED = (
  (b'II*\0', 'tiff'),
  (b'MM\0*', 'tiff'),
  (b'\xff\x0a', 'jxl'),
  (b'\0\0\0\x0cJXL ', 'jxl'),
  (b'\0\0\0\x0cjP  ', 'jp2'),
  (b'8BPS', 'psd'),
)

_PNG_SIGNATURE_BYTES = 8
# PNG chunks that do not change the pixels, but may be larger than Pillow reads.
_PNG_TEXTS = (b'tEXt', b'zTXt', b'iTXt', b'iCCP')
_JPEG_END = b'\xff\xd9'
# Data of every restart interval, which decode to something other than grey.
_FILLER = b''.join(
  b'\x5a\xc3\x36\x91' * 64 + bytes((0xFF, mark)) for mark in range(0xD0, 0xD8)
)


def decode(data: bytes) -> Image.Image:
  """Decode JPEG, PNG, WebP, GIF (its first frame) or BMP into RGB.

  Raises:
    schema.DecodeError: the reason is 'empty_file', 'not_an_image',
      'too_many_pixels', 'corrupt_' and the format, or the name of another
      format and '_not_supported'.
  """
  name = _format(data)
  if name == 'PNG':
    data = _without_texts(data)
  try:
    return _decode(data, name)
  except schema.DecodeError:
    raise
  except Exception as error:  # Pillow raises TypeError and others.
    picture = _with_end(data) if name == 'JPEG' else None
    if picture is not None:
      return picture
    reason = f'corrupt_{name.lower()}'
    raise schema.DecodeError(reason, _first_line(error)) from error


def _decode(data: bytes, name: str) -> Image.Image:
  with warnings.catch_warnings():
    # Ignore warnings about metadata, and about sizes above MAX_PIXELS, which
    # are checked below.
    warnings.simplefilter('ignore')
    with Image.open(io.BytesIO(data), formats=[name]) as image:
      if image.width * image.height > MAX_PIXELS:
        raise schema.DecodeError(
          'too_many_pixels',
          f'{image.width} x {image.height}, at most {MAX_PIXELS}',
        )
      return transforms.to_rgb(image)


def _with_end(data: bytes) -> Image.Image | None:
  """Decode a JPEG that lacks only its end mark; None if it lacks more.

  An incomplete last scan is rejected, because the appended bytes would change
  the picture.
  """
  data = data.rstrip(b'\xff')
  if not _has_all_scans(data):
    return None
  try:
    plain, filled = (
      _decode(data + filler + _JPEG_END, 'JPEG') for filler in (b'', _FILLER)
    )
  except Exception:
    return None
  return plain if plain.tobytes() == filled.tobytes() else None


def _has_all_scans(data: bytes) -> bool:
  """Return whether the scans of a JPEG contain every bit of its coefficients.

  See ITU-T T.81, B.2; a progressive file has a scan for some bits of some
  coefficients.
  """
  missing: dict[int, list[int]] = {}  # bits of each coefficient, by component
  position = 2
  while (position := data.find(b'\xff', position)) >= 0:
    mark = data[position + 1 : position + 2]
    if mark < b'\xc0' or b'\xd0' <= mark < b'\xd9' or mark == b'\xff':
      position += 1 if mark == b'\xff' else 2
      continue
    length = int.from_bytes(data[position + 2 : position + 4], 'big')
    body = data[position + 4 : position + 2 + length]
    if mark < b'\xd0' and mark not in (b'\xc4', b'\xc8', b'\xcc'):
      missing = {component: [1] * 64 for component in body[6::3]}
    elif mark == b'\xda' and len(body) >= 6:
      first, last, bits = body[-3:]
      for component in body[1:-3:2]:
        missing.get(component, [])[first : last + 1] = [bits & 15] * (
          last + 1 - first
        )
    position += 2 + length
  return bool(missing) and not any(map(any, missing.values()))


def _without_texts(data: bytes) -> bytes:
  """Return a PNG without its texts and its colour profile."""
  position = _PNG_SIGNATURE_BYTES
  kept = [data[:position]]
  while position < len(data):
    length = int.from_bytes(data[position : position + 4], 'big') + 12
    if data[position + 4 : position + 8] not in _PNG_TEXTS:
      kept.append(data[position : position + length])
    position += length
  return b''.join(kept)


def _format(data: bytes) -> str:
  if not data:
    raise schema.DecodeError('empty_file')
  for magic, name in _MAGIC:
    if data.startswith(magic):
      return name
  if data[:4] == b'RIFF' and data[8:12] == b'WEBP':
    return 'WEBP'
  unsupported = containers.image_container(data[:12])
  for magic, name in _UNSUPPORTED:
    if data.startswith(magic):
      unsupported = name
  if unsupported:
    raise schema.DecodeError(
      f'{unsupported}_not_supported', 'convert it to JPEG, PNG or WebP'
    )
  raise schema.DecodeError('not_an_image', f'it begins with {data[:16]!r}')


def _first_line(error: Exception) -> str:
  return (str(error).splitlines() or [''])[0][:200] or type(error).__name__
