"""Write files and folders atomically: completely or not at all.

New content is written beside its destination, flushed to disk and renamed. A
reader sees the old content or the new, and a failed write leaves the old one.

Paths may be local or in a bucket, which has no rename: what goes there is
staged on the local disk and then uploaded. Its files are replaced atomically,
one after the other.
"""

import contextlib
import glob
import os
import tempfile
import uuid
from collections.abc import Iterator, Sequence

from etils import epath

from phenaki_jax.files.paths import DataPath, is_remote, writable


def replace_file(path: epath.PathLike | DataPath, content: bytes) -> None:
  """Replace the content of a file; missing parent folders are created.

  Raises:
    OSError: if it cannot be written; the old content is then still there.
  """
  with staged_file(path) as part:
    part.write_bytes(content)


@contextlib.contextmanager
def staged_file(path: epath.PathLike | DataPath) -> Iterator[epath.Path]:
  """Yield a temporary path; its file replaces `path` when the block succeeds.

  The temporary path has the file name of `path`, and therefore its suffix.
  """
  with staged_files(path) as folder:
    yield folder / epath.Path(path).name


@contextlib.contextmanager
def staged_files(*paths: epath.PathLike | DataPath) -> Iterator[epath.Path]:
  """Yield a temporary local folder; its files replace `paths` after success.

  Args:
    *paths: files of one folder. The block must write a file of the same name
      for each of them.
  """
  places = [writable(path) for path in paths]
  if is_remote(places[0]):
    with tempfile.TemporaryDirectory() as name:
      yield epath.Path(name)
      _upload(epath.Path(name), places)
    return
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
def staged_folder(
  path: epath.PathLike | DataPath, *, last: str = ''
) -> Iterator[epath.Path]:
  """Yield a local folder, which replaces `path` when the block succeeds.

  Args:
    path: the folder to replace.
    last: name of the file that is uploaded last to a bucket, where files are
      replaced one after the other: that which describes the others.
  """
  path = writable(path)
  if is_remote(path):
    with tempfile.TemporaryDirectory() as name:
      yield epath.Path(name)
      _replace_remote(epath.Path(name), path, last)
    return
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


def sweep(path: epath.PathLike | DataPath) -> None:
  """Delete what killed processes left of `staged_files` or `staged_folder`.

  The caller must know that no other process is writing to `path`.
  """
  path = epath.Path(str(path))
  if is_remote(path):
    return
  for word in ('part', 'building'):
    for folder in path.parent.glob(f'.{glob.escape(path.name)}.{word}-*'):
      folder.rmtree()


def sweep_folder(folder: epath.PathLike | DataPath) -> None:
  """Delete what killed processes left of `staged_files` in a folder.

  The caller must know that no other process is writing files to the folder.
  """
  folder = epath.Path(str(folder))
  if not is_remote(folder) and folder.exists():
    for part in folder.glob('.*.part-*'):
      part.rmtree()


def recover(path: epath.PathLike | DataPath) -> None:
  """Restore a folder if a process was killed while it was being replaced."""
  path = writable(path)
  if is_remote(path):
    return
  if _previous(path).is_dir() and not path.exists():
    _previous(path).rename(path)


def _previous(path: epath.Path) -> epath.Path:
  return path.parent / f'.{path.name}.previous'


def _beside(path: epath.Path, word: str) -> epath.Path:
  # In the same folder, because a rename must stay within one file system.
  return path.parent / f'.{path.name}.{word}-{uuid.uuid4().hex[:8]}'


def _upload(folder: epath.Path, places: Sequence[epath.Path]) -> None:
  """Upload the files of a folder that have the names of some places."""
  for place in places:
    if not (folder / place.name).is_file():
      raise FileNotFoundError(folder / place.name)
  for place in places:
    (folder / place.name).copy(place, overwrite=True)


def _replace_remote(folder: epath.Path, target: epath.Path, last: str) -> None:
  """Upload a folder, and delete what the target held beside its files."""
  names = _names(folder)
  old = _names(target) - names if target.exists() else set()
  for name in sorted(names, key=lambda name: (name == last, name)):
    (folder / name).copy(target / name, overwrite=True)
  for name in sorted(old):
    (target / name).unlink()


def _names(folder: epath.Path) -> set[str]:
  """Return the names of all files of a folder, relative to it."""
  found = set()
  for entry in folder.iterdir():
    if entry.is_dir():
      found |= {f'{entry.name}/{name}' for name in _names(entry)}
    else:
      found.add(entry.name)
  return found


def _sync(path: epath.Path) -> None:
  """Flush a file or folder to disk."""
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)
