"""Finished scenes on disk, from which an interrupted story continues.

A scene is two files named by its key, the hash of everything that determines
its frames: `<key>.npy` holds the frames (uint8) and is written as they come,
and `<key>.json` holds its digest and is written when the scene is complete. A
scene without the second file is ignored, and one that does not match its
digest is generated again. Nothing is pickled.
"""

import json
import logging
import os
import pathlib
import re
import shutil
from collections.abc import Collection, Iterator

import numpy as np

from phenaki_jax.errors import UserError
from phenaki_jax.files.atomic import replace_file, staged_file
from phenaki_jax.files.digests import file_digest
from phenaki_jax.types import VideoU8

_LOG = logging.getLogger(__name__)
_OURS = re.compile(r'\.?([0-9a-f]{32})\.(npy|json)(\.part.*)?')


class KeptScenes:
  """The finished scenes in a folder, which is created when needed."""

  def __init__(self, folder: str | os.PathLike[str]):
    """Set the folder; nothing is read or written yet."""
    self.folder = pathlib.Path(folder)

  def find(self, key: str, shape: tuple[int, ...]) -> VideoU8 | None:
    """Return a kept scene as a memory map, or None.

    Args:
      key: 32 hexadecimal digits.
      shape: expected shape of the frames, [T, H, W, 3].
    """
    frames, mark = self._paths(key)
    if not mark.is_file() or not frames.is_file():
      return None
    try:
      digest = json.loads(mark.read_text('utf-8'))['sha256']
      if file_digest(frames) != digest:
        raise UserError('it does not match its digest')
      array = np.load(frames, mmap_mode='r', allow_pickle=False)
      if array.shape != shape or array.dtype != np.uint8:
        raise UserError(f'it contains {array.dtype} {list(array.shape)}')
    except (ValueError, KeyError, TypeError, OSError) as error:
      _LOG.warning(
        'the kept scene %s is damaged (%s) and is generated again',
        frames,
        error,
      )
      return None
    return array

  def through(
    self,
    key: str,
    shape: tuple[int, ...],
    chunks: Iterator[VideoU8],
    *,
    chunk_frames: int,
  ) -> Iterator[VideoU8]:
    """Yield a kept scene, or else yield new chunks and keep them.

    Args:
      key: 32 hexadecimal digits.
      shape: shape of all frames of the scene, [T, H, W, 3].
      chunks: yields the frames of the scene if it is not kept.
      chunk_frames: length of the chunks of a kept scene.
    """
    found = self.find(key, shape)
    if found is not None:
      for start in range(0, len(found), chunk_frames):
        yield np.array(found[start : start + chunk_frames])
      return
    frames, mark = self._paths(key)
    mark.unlink(missing_ok=True)
    left = shape[0]
    with staged_file(frames) as part:
      with open(part, 'wb') as file:
        header = {'descr': '|u1', 'fortran_order': False, 'shape': shape}
        np.lib.format.write_array_header_1_0(file, header)
        for chunk in chunks:
          assert chunk.shape[1:] == shape[1:], chunk.shape
          file.write(np.ascontiguousarray(chunk).tobytes())
          left -= len(chunk)
          yield chunk
        assert not left, f'{left} frames are missing'
      digest = file_digest(part)
    replace_file(mark, json.dumps({'sha256': digest}).encode())

  def sweep(self) -> None:
    """Delete the unfinished scenes that killed processes left behind."""
    for path in self.folder.glob('.*.part-*'):
      if path.is_dir() and _OURS.fullmatch(path.name):
        shutil.rmtree(path)

  def keep_only(self, keys: Collection[str]) -> int:
    """Delete all scenes with other keys; return the number of deleted files."""
    count = 0
    for path in sorted(self.folder.glob('*')):
      match = _OURS.fullmatch(path.name)
      if match and match[1] not in keys:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        count += 1
    return count

  def shrink(self, size: int, keys: Collection[str]) -> int:
    """Delete the oldest scenes until the others have at most `size` bytes.

    Args:
      size: of all frames together.
      keys: of scenes that are kept in any case.

    Returns:
      The number of deleted scenes.
    """
    marks = [
      path
      for path in self.folder.glob('*.json')
      if _OURS.fullmatch(path.name) and path.with_suffix('.npy').is_file()
    ]
    marks.sort(key=lambda path: path.stat().st_mtime_ns)
    sizes = {
      path.stem: path.with_suffix('.npy').stat().st_size for path in marks
    }
    left, count = sum(sizes.values()), 0
    for path in marks:
      if left > size and path.stem not in keys:
        path.unlink()
        path.with_suffix('.npy').unlink()
        left -= sizes[path.stem]
        count += 1
    return count

  def _paths(self, key: str) -> tuple[pathlib.Path, pathlib.Path]:
    return self.folder / f'{key}.npy', self.folder / f'{key}.json'
