"""Write files and folders atomically: completely or not at all.

New content is written beside its destination, flushed to disk and renamed. A
reader sees the old content or the new, and a failed write leaves the old one.

Paths may be local or remote. A bucket has no rename: there, each file is
copied, so that single files are replaced atomically and folders are not.
"""

import contextlib
import glob
import os
import uuid
from collections.abc import Iterator

from etils import epath

from phenaki_jax.files.paths import is_remote


def replace_file(path: epath.PathLike, content: bytes) -> None:
  """Replace the content of a file; missing parent folders are created.

  Raises:
    OSError: if it cannot be written; the old content is then still there.
  """
  with staged_file(path) as part:
    part.write_bytes(content)


@contextlib.contextmanager
def staged_file(path: epath.PathLike) -> Iterator[epath.Path]:
  """Yield a temporary path; its file replaces `path` when the block succeeds.

  The temporary path has the file name of `path`, and therefore its suffix.
  """
  with staged_files(path) as folder:
    yield folder / epath.Path(path).name


@contextlib.contextmanager
def staged_files(*paths: epath.PathLike) -> Iterator[epath.Path]:
  """Yield a temporary folder; its files replace `paths` after success.

  Args:
    *paths: files of one folder. The block must write a file of the same name
      for each of them.
  """
  places = [epath.Path(path) for path in paths]
  folder = _beside(places[0], 'part')
  folder.mkdir(parents=True)
  try:
    yield folder
    for place in places:
      _sync(folder / place.name)
    for place in places:
      (folder / place.name).replace(place)
    _sync(places[0].parent)
  finally:
    folder.rmtree(missing_ok=True)


@contextlib.contextmanager
def staged_folder(path: epath.PathLike) -> Iterator[epath.Path]:
  """Yield a temporary folder that replaces `path` when the block succeeds."""
  path = epath.Path(path)
  recover(path)
  folder, previous = _beside(path, 'building'), _previous(path)
  folder.mkdir(parents=True)
  try:
    yield folder
    for parent, _, names in os.walk(folder):
      for name in names:
        _sync(epath.Path(parent) / name)
    previous.rmtree(missing_ok=True)
    if path.exists():
      path.rename(previous)
    try:
      folder.rename(path)
    except BaseException:
      recover(path)
      raise
    _sync(path.parent)
    previous.rmtree(missing_ok=True)
  finally:
    folder.rmtree(missing_ok=True)


def sweep(path: epath.PathLike) -> None:
  """Delete what killed processes left of `staged_files` or `staged_folder`.

  The caller must know that no other process is writing to `path`.
  """
  path = epath.Path(path)
  for word in ('part', 'building'):
    for folder in path.parent.glob(f'.{glob.escape(path.name)}.{word}-*'):
      folder.rmtree()


def recover(path: epath.PathLike) -> None:
  """Restore a folder if a process was killed while it was being replaced."""
  path = epath.Path(path)
  if _previous(path).is_dir() and not path.exists():
    _previous(path).rename(path)


def _previous(path: epath.Path) -> epath.Path:
  return path.parent / f'.{path.name}.previous'


def _beside(path: epath.Path, word: str) -> epath.Path:
  # In the same folder, because a rename must stay within one file system.
  return path.parent / f'.{path.name}.{word}-{uuid.uuid4().hex[:8]}'


def _sync(path: epath.Path) -> None:
  """Flush a local file or folder to disk; remote writes are durable."""
  if is_remote(path):
    return
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)
