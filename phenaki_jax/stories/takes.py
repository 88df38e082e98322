"""Finished scenes on disk, so that a half-made story goes on where it was.

A scene is two files named by the hash of everything that made it:
`<name>.npy`, its frames (uint8, written as they come), and `<name>.json`, its
digest, written when it is complete. A scene without the second file does not
count, and one that does not fit its digest is made again. Nothing is pickled.
"""

import contextlib
import json
import logging
import math
import os
import pathlib
import re
import shutil
from collections.abc import Collection, Iterator
from typing import BinaryIO

import numpy as np

from phenaki_jax.errors import UserError
from phenaki_jax.files.atomic import replace_file, staged_file
from phenaki_jax.files.digests import file_digest

_LOG = logging.getLogger(__name__)
_OURS = re.compile(r'\.?([0-9a-f]{32})\.(npy|json)(\.part.*)?')


class Takes:
  """Keep finished scenes in a folder, which is made when first needed."""

  def __init__(self, folder: str | os.PathLike[str]):
    """Name the folder; nothing is read or written yet."""
    self.folder = pathlib.Path(folder)

  def find(self, name: str, shape: tuple[int, ...]) -> np.ndarray | None:
    """Return a kept scene, mapped rather than read, or None.

    Args:
      name: 32 hexadecimal digits.
      shape: what the frames must have, [T, H, W, 3].
    """
    frames, mark = self._paths(name)
    if not mark.is_file() or not frames.is_file():
      return None
    try:
      digest = json.loads(mark.read_text('utf-8'))['sha256']
      if file_digest(frames) != digest:
        raise UserError('its bytes are not those that were written')
      array = np.load(frames, mmap_mode='r', allow_pickle=False)
      if array.shape != shape or array.dtype != np.uint8:
        raise UserError(f'it holds {array.dtype} {list(array.shape)}')
    except (ValueError, KeyError, TypeError, OSError) as error:
      _LOG.warning(
        'the kept scene %s is damaged (%s) and is made again', frames, error
      )
      return None
    return array

  @contextlib.contextmanager
  def record(self, name: str, shape: tuple[int, ...]) -> Iterator['Take']:
    """Write a scene; it counts once the block ends without an error.

    Raises:
      UserError: fewer frames were given than `shape` says.
    """
    frames, mark = self._paths(name)
    mark.unlink(missing_ok=True)
    with staged_file(frames) as part:
      with open(part, 'wb') as file:
        header = {'descr': '|u1', 'fortran_order': False, 'shape': shape}
        np.lib.format.write_array_header_1_0(file, header)
        take = Take(file, shape)
        yield take
        take.check_complete()
      digest = file_digest(part)
    replace_file(mark, json.dumps({'sha256': digest}).encode())

  def keep_only(self, names: Collection[str]) -> int:
    """Delete the scenes of other names, and return how many files went."""
    count = 0
    for path in sorted(self.folder.glob('*')):
      match = _OURS.fullmatch(path.name)
      if match and match[1] not in names:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        count += 1
    return count

  def _paths(self, name: str) -> tuple[pathlib.Path, pathlib.Path]:
    return self.folder / f'{name}.npy', self.folder / f'{name}.json'


class Take:
  """Take the frames of one scene as they come."""

  def __init__(self, file: BinaryIO, shape: tuple[int, ...]):
    """Write into an open file, after its header."""
    self._file = file
    self._frame = shape[1:]
    self._left = shape[0]

  def append(self, frames: np.ndarray) -> None:
    """Add uint8 frames [T, H, W, 3]."""
    assert frames.dtype == np.uint8 and frames.shape[1:] == self._frame
    self._left -= len(frames)
    assert self._left >= 0, 'more frames than the scene has'
    self._file.write(np.ascontiguousarray(frames).tobytes())

  def check_complete(self) -> None:
    """Raise a UserError if frames are missing."""
    if self._left:
      raise UserError(
        f'{self._left} frames of {math.prod(self._frame)} bytes are missing'
      )
