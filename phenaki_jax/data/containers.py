"""Container formats of video files: recognition and truncation.

Both read only the headers of a file, because FFmpeg must not guess the format
of an untrusted file and reports a truncated file as a shorter one.
"""

import io
from collections.abc import Callable
from typing import TypeAlias

from phenaki_jax.data import schema

BinaryFile: TypeAlias = io.BufferedIOBase | io.RawIOBase

_MP4_BOXES = (b'ftyp', b'moov', b'mdat', b'free', b'skip', b'wide', b'pnot')
# The boxes of media. Bytes after the last box may look like other boxes.
_MP4_MEDIA = (b'moov', b'mdat', b'moof', b'styp', b'sidx', b'emsg', b'prft')
# The major brands of images in the same container.
_AVIF = (b'avif', b'avis')
_HEIF = (b'heic', b'heix', b'heim', b'heis', b'hevc', b'mif1', b'msf1')
_UNSUPPORTED = (
  (b'FLV', 'flv'),
  (b'OggS', 'ogg'),
  (b'0&\xb2u\x8ef\xcf\x11', 'asf'),
  (b'\0\0\x01\xba', 'mpegps'),
  (b'.RMF', 'realmedia'),
  (b'\x06\x0e+4\x02\x05\x01\x01\r\x01\x02', 'mxf'),
)
# Ids of Matroska elements, and all that are parts of a segment or a cluster.
_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675
_ELEMENTS = frozenset(
  (_SEGMENT, _CLUSTER, 0x1A45DFA3, 0x114D9B74, 0x1549A966, 0x1654AE6B)
  + (0x1C53BB6B, 0x1254C367, 0x1043A770, 0x1941A469, 0xEC, 0xBF, 0xE7)
  + (0xA0, 0xA3, 0xA7, 0xAB, 0xAF, 0x5854)
)
_UNKNOWN_LENGTHS = (0, 2**32 - 1)  # of an AVI list that is still written


def check(file: BinaryFile) -> str:
  """Check that a file is a whole video, and return FFmpeg's format name.

  Raises:
    schema.DecodeError: the reason is 'empty_file', 'truncated_file',
      'not_a_video', or the name of a container and '_not_supported'.
  """
  size = file.seek(0, 2)
  name = _format(_read(file, 0, 400))
  is_cut_off = _CUT_OFF.get(name)
  if is_cut_off and is_cut_off(file, size):
    raise schema.DecodeError('truncated_file', f'of {size} bytes')
  return name


def image_container(head: bytes) -> str:
  """Return 'avif' or 'heif' if a file begins as one; else an empty text."""
  brand = head[8:12] if head[4:8] == b'ftyp' else b''
  return 'avif' if brand in _AVIF else 'heif' if brand in _HEIF else ''


def _format(head: bytes) -> str:
  if not head:
    raise schema.DecodeError('empty_file')
  unsupported = image_container(head)
  for magic, name in _UNSUPPORTED:
    if head.startswith(magic):
      unsupported = name
  # The packets of a transport stream begin with a sync byte. In M2TS files a
  # timestamp of four bytes precedes each of them.
  if head[0::188][:3] == b'GGG' or head[4::192][:3] == b'GGG':
    unsupported = 'mpegts'
  if unsupported:
    raise schema.DecodeError(
      f'{unsupported}_not_supported', 'convert it to mp4 or webm'
    )
  if head[4:8] in _MP4_BOXES:
    return 'mov'
  if head[:4] == b'\x1aE\xdf\xa3':
    return 'matroska'
  if head[:4] == b'RIFF' and head[8:12] == b'AVI ':
    return 'avi'
  if head[:6] in (b'GIF87a', b'GIF89a'):
    return 'gif'
  raise schema.DecodeError('not_a_video', f'it begins with {head[:16]!r}')


def _mp4_is_cut_off(file: BinaryFile, size: int) -> bool:
  """Return whether a box of media ends after the file, or one is missing."""
  position, found = 0, set()
  while position + 8 <= size:
    head = _read(file, position, 16)
    length, name = int.from_bytes(head[:4], 'big'), head[4:8]
    if length == 1:
      length = int.from_bytes(head[8:16], 'big')
    if length == 0 and name in _MP4_BOXES:  # It extends to the end.
      found.add(name)
      break
    if length < 8 or position + length > size:
      if name in _MP4_MEDIA:
        return True
      break  # Bytes after the last box.
    found.add(name)
    position += length
  return not {b'moov', b'mdat'} <= found


def _matroska_is_cut_off(file: BinaryFile, size: int) -> bool:
  """Return whether an element ends after the file."""
  position = 0
  while position < size:
    head = _read(file, position, 12)
    id_bytes = 9 - head[0].bit_length()
    name = int.from_bytes(head[:id_bytes], 'big')
    if name not in _ELEMENTS:
      break  # Bytes after the last element.
    head = head[id_bytes:]
    size_bytes = 9 - head[0].bit_length() if head else 9
    if size_bytes > 8 or len(head) < size_bytes:
      return True
    ones = (1 << 7 * size_bytes) - 1
    length = int.from_bytes(head[:size_bytes], 'big') & ones
    position += id_bytes + size_bytes
    # A live recording has elements of unknown length, all bits of which are 1.
    if length == ones and name in (_SEGMENT, _CLUSTER):
      continue
    position += length
    if name == _SEGMENT:
      break
  return position > size


def _avi_is_cut_off(file: BinaryFile, size: int) -> bool:
  """Return whether a chunk ends after the file."""
  position, is_open = 0, False
  while len(head := _read(file, position, 8)) == 8:
    name, length = head[:4], int.from_bytes(head[4:], 'little')
    if name in (b'RIFF', b'LIST') and length in _UNKNOWN_LENGTHS:
      is_open = True
      position += 12
    elif name == b'RIFF' or (is_open and name.isalnum()):
      position += 8 + length + length % 2
    else:
      break  # Bytes after the last chunk.
  return position > size + 1  # The last padding byte may be missing.


def _gif_is_cut_off(file: BinaryFile, size: int) -> bool:
  """Return whether a block ends after the file."""
  position = 13 + _palette_bytes(_read(file, 10, 1))
  while position < size:
    head = _read(file, position, 10)
    if head[0] == 0x2C:  # An image.
      position += 11 + _palette_bytes(head[9:])
    elif head[0] == 0x21:  # An extension.
      position += 2
    else:  # The end mark, or bytes after the last block.
      return False
    while count := _read(file, position, 1):
      position += 1 + count[0]
      if not count[0]:
        break
    else:
      return True
  return position > size


def _palette_bytes(flags: bytes) -> int:
  return 3 * 2 ** ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0


def _read(file: BinaryFile, position: int, count: int) -> bytes:
  file.seek(position)
  return file.read(count) or b''


_CUT_OFF: dict[str, Callable[[BinaryFile, int], bool]] = {
  'mov': _mp4_is_cut_off,
  'matroska': _matroska_is_cut_off,
  'avi': _avi_is_cut_off,
  'gif': _gif_is_cut_off,
}
