"""The offset and size of each member of a tar shard, for random access.

The headers of a tar are scanned once. Members are read by their offset;
nothing is unpacked and no member name is used as a path. Links, devices,
sparse files and names that lead out of the archive are left out and counted.
The index is stored beside the shard, or in another folder if that is not
writable. It is valid for one size and modification time of the shard.
"""

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import pathlib
from collections import Counter
from typing import Any

from phenaki_jax.files import atomic
from phenaki_jax.files.paths import DataPath, is_remote
from phenaki_jax.files.remote import open_stream

_VERSION = 2
_BLOCK = 512
_MAX_MEMBERS = 2_000_000
_MAX_EXTENSION_BYTES = 2**20  # size of a long name or a PAX header
_REGULAR = (b'0', b'\0')

Place = tuple[int, int]
"""Offset and size of a member, in bytes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TarIndex:
  """The members of a shard by key and extension.

  Attributes:
    members: offset and size by extension by key; a member `./a/b.c.json` has
      the key `a/b` and the extension `c.json`.
    ignored: counts of the members that are left out, by reason.
  """

  members: dict[str, dict[str, Place]]
  ignored: dict[str, int]


def load(tar: DataPath, *, fallback: pathlib.Path | None) -> TarIndex:
  """Return the index of a shard; scan the shard only if it has changed.

  Remote shards are always scanned.

  Args:
    tar: the shard.
    fallback: folder for the index if the folder of the shard is not writable;
      None for no such folder.

  Returns:
    The index. A shard whose downloads all failed has no members, and a file
    that is not a tar archive is counted as a 'damaged_archive'.

  Raises:
    OSError: the shard cannot be read.
  """
  if is_remote(tar):
    with open_stream(tar) as file:
      return scan(file, file.seek(0, os.SEEK_END))
  status = tar.stat()
  name = f'{tar.name}.index.json'
  places = [tar.parent / name]
  # A folder without write permission must stay unchanged, even where the
  # superuser could write to it.
  is_writable = os.access(tar.parent, os.W_OK) and (
    tar.parent.stat().st_mode & 0o222
  )
  if fallback is not None:
    digest = hashlib.sha256(str(tar.parent.resolve()).encode()).hexdigest()
    places.append(fallback / f'{digest[:8]}-{name}')
  for place in places:
    index = _read(place, status)
    if index is not None:
      return index
  with open(tar, 'rb') as file:
    index = scan(file, status.st_size)
  for place in places if is_writable else places[1:]:
    with contextlib.suppress(OSError):
      _write(place, index, status)
      break
  return index


def scan(file: io.BufferedIOBase, size: int) -> TarIndex:
  """Read every header of a tar archive of `size` bytes."""
  members: dict[str, dict[str, Place]] = {}
  ignored: Counter[str] = Counter()
  position, count = 0, 0
  name = ''
  overrides: dict[str, str] = {}
  while position + _BLOCK <= size:
    file.seek(position)
    header = file.read(_BLOCK)
    if not header.strip(b'\0'):
      break
    if not _is_header(header):
      ignored['damaged_archive'] += 1
      break
    length = _number(header[124:136])
    kind = header[156:157]
    if kind in _REGULAR and overrides.get('size', '').isdecimal():
      length = int(overrides['size'])
    start = position + _BLOCK
    position = start + -(-length // _BLOCK) * _BLOCK
    if start + length > size:
      ignored['truncated_archive'] += 1
      break
    if kind in (b'L', b'x'):
      if length > _MAX_EXTENSION_BYTES:
        ignored['too_long_name'] += 1
      elif kind == b'L':
        name = _text(file.read(length))
      else:
        overrides = _pax(file.read(length))
      continue
    if kind in (b'K', b'g'):
      continue  # A long link name or PAX defaults, which do not affect files.
    count += 1
    if count > _MAX_MEMBERS:
      ignored['too_many_members'] += 1
      break
    full = overrides.get('path') or name or _name(header)
    sparse = any(key.startswith('GNU.sparse') for key in overrides)
    name, overrides = '', {}
    if kind == b'5':
      continue  # A folder.
    reason = 'not_a_regular_file' if kind not in _REGULAR or sparse else ''
    reason = reason or _name_fault(full)
    folder, slash, base = _plain(full).rpartition('/')
    stem, _, extension = base.partition('.')
    key, extension = folder + slash + stem, extension.lower()
    if not reason and extension in members.get(key, {}):
      reason = 'repeated_name'
    if reason:
      ignored[reason] += 1
    else:
      members.setdefault(key, {})[extension] = (start, length)
  return TarIndex(members=members, ignored=dict(ignored))


def _is_header(header: bytes) -> bool:
  """Return whether the checksum of a header is correct."""
  # The field of the checksum itself counts as spaces.
  plain = sum(header) - sum(header[148:156]) + 8 * 32
  return _number(header[148:156]) == plain


def _number(field: bytes) -> int:
  """Read a number: octal digits, or binary if the first bit is set."""
  if field[0] & 0x80:
    return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], 'big')
  digits = field.split(b'\0')[0].strip()
  try:
    return max(0, int(digits or b'0', 8))
  except ValueError:
    return 0


def _text(field: bytes) -> str:
  return field.split(b'\0')[0].decode('utf-8', 'replace')


def _name(header: bytes) -> str:
  name, prefix = _text(header[:100]), ''
  if header[257:263] == b'ustar\0':
    prefix = _text(header[345:500])
  return f'{prefix}/{name}' if prefix else name


def _pax(data: bytes) -> dict[str, str]:
  """Read the `length key=value` lines of a PAX header."""
  found = {}
  while data:
    digits, _, _ = data.partition(b' ')
    if not digits.isdigit() or not len(digits) < int(digits) <= len(data):
      break
    line, data = data[: int(digits)], data[int(digits) :]
    key, _, value = line[len(digits) + 1 :].rstrip(b'\n').partition(b'=')
    found[_text(key)] = _text(value)
  return found


def _plain(name: str) -> str:
  """Return a name without the parts that stand for the same folder."""
  if '/' not in name:
    return name
  return '/'.join(part for part in name.split('/') if part not in ('', '.'))


def _name_fault(name: str) -> str:
  parts = name.split('/')
  if name.startswith('/') or '..' in parts or parts[-1] in ('', '.'):
    return 'unsafe_name'
  return ''


def _read(place: DataPath, status: os.stat_result) -> TarIndex | None:
  """Read a stored index; None if it is invalid or of another shard."""
  try:
    kept = json.loads(place.read_text())
    stamp = (kept['version'], kept['size'], kept['mtime_ns'])
    if stamp != (_VERSION, status.st_size, status.st_mtime_ns):
      return None
    members = {
      str(key): {str(e): _place(p, status.st_size) for e, p in places.items()}
      for key, places in kept['members'].items()
    }
    ignored = {str(k): int(v) for k, v in kept['ignored'].items()}
  except (OSError, ValueError, KeyError, TypeError, AttributeError):
    return None
  return TarIndex(members=members, ignored=ignored)


def _place(pair: Any, size: int) -> Place:
  offset, length = pair
  if not (isinstance(offset, int) and isinstance(length, int)):
    raise ValueError('an offset is not an integer')
  if not 0 <= offset <= offset + length <= size:
    raise ValueError('an offset is outside the shard')
  return offset, length


def _write(place: DataPath, index: TarIndex, status: os.stat_result) -> None:
  stamp = {
    'version': _VERSION,
    'size': status.st_size,
    'mtime_ns': status.st_mtime_ns,
  }
  place.parent.mkdir(parents=True, exist_ok=True)
  fields = {'members': index.members, 'ignored': index.ignored}
  content = json.dumps(stamp | fields)
  atomic.replace_file(place, content.encode())
