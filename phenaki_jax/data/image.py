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
_JPEG_SCAN, _JPEG_END = b'\xff\xda', b'\xff\xd9'
# The segments of JPEG that hold metadata. Two of them, JFIF and Adobe, tell how
# the colours are coded.
_JPEG_METADATA = (*range(0xE0, 0xF0), 0xFE)
_JPEG_COLOURS, _JPEG_COLOURS_BYTES = (0xE0, 0xEE), 16
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
  # Pillow rejects a picture for a fault of its metadata.
  exif = b''
  if name == 'PNG':
    data, exif = _bare_png(data)
  elif name == 'JPEG':
    data, exif = _bare_jpeg(data)
  try:
    return _decode(data, name, exif)
  except schema.DecodeError:
    raise
  except Exception as error:  # Pillow raises TypeError and others.
    picture = _with_end(data, exif) if name == 'JPEG' else None
    if picture is not None:
      return picture
    reason = f'corrupt_{name.lower()}'
    raise schema.DecodeError(reason, _first_line(error)) from error


def _decode(data: bytes, name: str, exif: bytes) -> Image.Image:
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
      if exif:
        image.info['exif'] = exif
      return transforms.to_rgb(image)


def _with_end(data: bytes, exif: bytes) -> Image.Image | None:
  """Decode a JPEG that lacks only its end mark; None if it lacks more.

  An incomplete last scan is rejected, because the appended bytes would change
  the picture.
  """
  data = data.rstrip(b'\xff')
  if not _has_all_scans(data):
    return None
  try:
    plain, filled = (
      _decode(data + filler + _JPEG_END, 'JPEG', exif)
      for filler in (b'', _FILLER)
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


def _bare_png(data: bytes) -> tuple[bytes, bytes]:
  """Return a PNG without metadata, and its EXIF data."""
  position, exif = _PNG_SIGNATURE_BYTES, b''
  kept = [data[:position]]
  while position < len(data):
    length = int.from_bytes(data[position : position + 4], 'big') + 12
    name = data[position + 4 : position + 8]
    if name == b'eXIf':
      exif = exif or data[position + 8 : position + length - 4]
    elif name[:1].isupper() or name == b'tRNS':  # The pixels depend on it.
      kept.append(data[position : position + length])
    position += length
  return b''.join(kept), exif


def _bare_jpeg(data: bytes) -> tuple[bytes, bytes]:
  """Return a JPEG without metadata, and its EXIF data."""
  position, exif = 2, b''
  kept = [data[:position]]
  while len(head := data[position : position + 10]) == 10 and head[0] == 0xFF:
    mark, length = head[1], int.from_bytes(head[2:4], 'big') + 2
    if head[:2] == _JPEG_SCAN:
      break
    if mark == 0xFF:  # A fill byte.
      length = 1
    elif mark == 0xE1 and head[4:] == b'Exif\0\0':
      exif = exif or data[position + 10 : position + length]
    elif mark not in _JPEG_METADATA or (
      mark in _JPEG_COLOURS and length >= _JPEG_COLOURS_BYTES
    ):
      kept.append(data[position : position + length])
    position += length
  return b''.join(kept) + data[position:], exif


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
