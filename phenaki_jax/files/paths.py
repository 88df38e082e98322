"""Paths on a local disk, in a bucket (`gs://`, `s3://`) or on a web server.

Run directories, caches and bundles are `epath.Path`s. Data are also read from
web servers, which `epath` does not know: their paths are `DataPath`s.
"""

import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from etils import epath

from phenaki_jax.errors import UserError

if TYPE_CHECKING:
  DataPath: TypeAlias = pathlib.Path
else:
  # Or a `upath.UPath`, which has the interface but is no subclass. It uses
  # fsspec.
  DataPath = Any

_WRITABLE = ('gs', 's3')


def is_remote(path: epath.PathLike | DataPath) -> bool:
  """Return whether a path does not lie on a local disk."""
  return '://' in str(path)


def absolute(path: epath.PathLike) -> epath.Path:
  """Return the absolute form of a path; remote paths already have it."""
  # `epath.Path.resolve` takes a remote path for a relative local one.
  return epath.Path(path if is_remote(path) else os.path.abspath(path))


def local_path(path: epath.PathLike, what: str) -> pathlib.Path:
  """Return the path of what is only read or written on a local disk.

  Args:
    path: of a file or folder.
    what: what the path is, for the message.

  Raises:
    UserError: if it is remote.
  """
  if is_remote(path):
    raise UserError(
      f'{what} is {path}, but must be on a local disk; name a path there, and '
      'copy from or to the other place'
    )
  return pathlib.Path(path).expanduser()


def film_paths(
  out: epath.PathLike,
  suffixes: Sequence[str],
  *,
  inputs: Iterable[epath.PathLike] = (),
) -> list[pathlib.Path]:
  """Return the files of a film, after it was checked that they can be written.

  Args:
    out: the film; the others are named after it.
    suffixes: of all files, `.mp4` first.
    inputs: files that are read, and must not be replaced.

  Raises:
    UserError: `out` is remote or does not end in `.mp4`, a file would replace
      an input, or a file cannot be written there.
  """
  out = local_path(out, '--out')
  if out.suffix != '.mp4':
    beside = ', '.join(suffixes[1:])
    raise UserError(
      f'--out is {out}; it must end in .mp4 (beside the film, {beside} are '
      'named after it)'
    )
  paths = [out.with_suffix(suffix) for suffix in suffixes]
  written = {path.resolve() for path in paths}
  for path in inputs:
    if pathlib.Path(path).expanduser().resolve() in written:
      raise UserError(
        f'--out {out} would replace {path}, which is read; choose another name'
      )
  for path in paths:
    if path.is_dir():
      raise UserError(f'{path} is a folder; choose another --out or move it')
  folder = out.parent
  while not folder.exists() and folder != folder.parent:
    folder = folder.parent
  if not folder.is_dir():
    raise UserError(f'{folder} is not a folder; choose another --out')
  if not os.access(folder, os.W_OK | os.X_OK):
    raise UserError(f'{folder} is not writable; choose another --out')
  return paths


def data_path(path: epath.PathLike | DataPath) -> DataPath:
  """Return the path of data, which may be remote."""
  if not is_remote(path):
    return pathlib.Path(path)
  import upath  # Most runs read local data.

  found: Any = upath.UPath(str(path))
  return found


def real_path(path: DataPath) -> str:
  """Return the path of data without symbolic links, as text."""
  return str(path) if is_remote(path) else str(path.resolve())


def writable(path: epath.PathLike | DataPath) -> epath.Path:
  """Return a path that can be written to.

  Raises:
    UserError: if it is on a web server, or in another unknown place.
  """
  text = str(path)
  if is_remote(text) and text.partition('://')[0] not in _WRITABLE:
    names = ' or '.join(f'{name}://' for name in _WRITABLE)
    raise UserError(
      f'{text} cannot be written to; name a local folder, or one in a bucket '
      f'({names})'
    )
  return epath.Path(text)


def checked_path(path: epath.PathLike, suffix: str) -> epath.Path:
  """Return the path of a file of one format.

  Raises:
    UserError: if it has another suffix.
  """
  path = epath.Path(path)
  if path.suffix != suffix:
    raise UserError(f'{path} must end in {suffix}')
  return path
