"""Reading of remote files: a part of one, or a copy on the local disk."""

import functools
import io
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from etils import epath

from phenaki_jax.files.atomic import staged_file
from phenaki_jax.files.digests import digest_json
from phenaki_jax.files.paths import DataPath, is_remote

_TRIES = 3
_PAUSE = 0.5  # seconds before the second try; each further one is longer
_BLOCK = 2**20  # bytes of one request, of files that are read in order

_Result = TypeVar('_Result')


def open_stream(path: DataPath) -> io.BufferedReader:
  """Open a file that is read mostly in order, on a disk or remote."""
  if not is_remote(path):
    return path.open('rb')
  remote: Any = path
  raw = cast(io.RawIOBase, remote.open('rb', block_size=_BLOCK))
  return io.BufferedReader(raw)


def read_part(path: DataPath, *, start: int, size: int, most: int) -> bytes:
  """Read a part of a remote file in one request.

  A failure of the network is tried again, and then is an error of the run: it
  says nothing about the file.

  Args:
    path: of the file.
    start: of the part.
    size: of the part; -1 means up to the end of the file.
    most: bytes that are read of a longer part.

  Raises:
    FileNotFoundError: if there is no such file.
    ConnectionError: if it cannot be read.
  """
  return _tried(path, functools.partial(_read_part, path, start, size, most))


def _tried(path: Any, action: Callable[[], _Result]) -> _Result:
  """Return what an action on a file does, after further tries."""
  for number in range(1, _TRIES + 1):
    try:
      return action()
    except Exception as error:  # Each file system has errors of its own.
      if isinstance(error, FileNotFoundError) and _is_missing(error):
        raise
      if number == _TRIES:
        # Not a FileNotFoundError.
        raise ConnectionError(f'{path} cannot be read: {_cause(error)}') from (
          error
        )
      time.sleep(_PAUSE * number)
  raise AssertionError('the last try returns or raises')


def _cause(error: Exception) -> BaseException:
  return error.__cause__ or error


def _is_missing(error: FileNotFoundError) -> bool:
  """Return whether a server said so; fsspec raises it for any failure."""
  cause = error.__cause__
  return cause is None or getattr(cause, 'status', 0) in (404, 410)


def _read_part(path: Any, start: int, size: int, most: int) -> bytes:
  if size == 0:
    return b''
  wanted = most if size < 0 else min(size, most)
  found = []
  with path.open('rb', cache_type='none') as file:
    file.seek(start)
    # A server that does not know the size sends pieces.
    while wanted and (piece := file.read(wanted)):
      found.append(piece)
      wanted -= len(piece)
  return b''.join(found)


def local_copy(path: epath.PathLike | DataPath) -> str:
  """Return the path of a file on the local disk.

  A remote file is copied to the user's cache folder, once for each version of
  it. Libraries that read files at random need that: Arrow and ArrayRecord. A
  failure of the network is tried again, as by `read_part`.

  Raises:
    FileNotFoundError: if there is no such remote file.
    ConnectionError: if it cannot be read.
  """
  text = str(path)
  if not is_remote(text):
    return text
  return _tried(text, functools.partial(_local_copy, text))


def _local_copy(text: str) -> str:
  from fsspec.core import url_to_fs

  system, name = url_to_fs(text)
  # What file systems tell depends on them: a size, a hash, a time, an ETag.
  facts = {key: str(value) for key, value in system.info(name).items()}
  place = cache_folder() / digest_json({'url': text, **facts})
  copy = place / name.rpartition('/')[2]
  if not copy.is_file():
    with staged_file(copy) as part:
      system.get_file(name, str(part))
  return str(copy)


def cache_folder() -> pathlib.Path:
  """Return the folder of copies; XDG_CACHE_HOME may name its parent."""
  parent = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
  return pathlib.Path(parent) / 'phenaki_jax'
