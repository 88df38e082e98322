"""Replace files whole: a reader sees the old content or the new, never half."""

import os
import pathlib


def replace_file(path: pathlib.Path, content: bytes) -> None:
  """Write a file beside its place, and move it there once it is on the disk.

  Raises:
    OSError: if it cannot be written; what stood at `path` is still there.
  """
  beside = path.with_name(f'.{path.name}.part')
  try:
    with beside.open('wb') as file:
      file.write(content)
      file.flush()
      os.fsync(file.fileno())
    beside.replace(path)
  finally:
    beside.unlink(missing_ok=True)
  folder = os.open(path.parent, os.O_RDONLY)
  try:
    os.fsync(folder)
  finally:
    os.close(folder)
