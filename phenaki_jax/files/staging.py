"""Write a folder whole or not at all.

The new folder is written beside the one it will replace and takes its place
in the end; whatever goes wrong before leaves what was there untouched.
"""

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def staged(out: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yield a new folder that becomes `out` when the block ends well.

  Args:
    out: absolute path of the folder; an existing one is replaced.
  """
  out.parent.mkdir(parents=True, exist_ok=True)
  recover(out)
  folder = pathlib.Path(
    tempfile.mkdtemp(dir=out.parent, prefix=f'.{out.name}.building-')
  )
  try:
    yield folder
    folder.chmod(0o755)  # A temporary folder is its owner's alone.
    _replace(folder, out)
  except BaseException:
    shutil.rmtree(folder, ignore_errors=True)
    raise


def recover(out: pathlib.Path) -> None:
  """Put back a folder that a killed process had just moved aside."""
  if _previous(out).is_dir() and not out.exists():
    os.rename(_previous(out), out)


def _previous(out: pathlib.Path) -> pathlib.Path:
  return out.parent / f'.{out.name}.previous'


def _replace(folder: pathlib.Path, out: pathlib.Path) -> None:
  previous = _previous(out)
  shutil.rmtree(previous, ignore_errors=True)
  if out.exists():
    os.rename(out, previous)
  try:
    os.rename(folder, out)
  except BaseException:
    recover(out)
    raise
  shutil.rmtree(previous, ignore_errors=True)
