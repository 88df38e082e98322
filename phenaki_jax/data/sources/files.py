"""A reader of records in the files of a folder: whole files or parts."""

import contextlib
import functools
import hashlib
import io
import math
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Float64, UInt8

from phenaki_jax.data import image, schema, transforms, video
from phenaki_jax.files.paths import DataPath, data_path, is_remote
from phenaki_jax.files.remote import read_part

MAX_BYTES = video.MAX_BYTES
"""Larger records are rejected before they are read."""


_MAX_CHECKED = 2**20  # remembered records, of about 100 bytes each
# Bytes up to which reading a record at once is faster than its parts.
_SMALL = 2**18
ROUNDING = 1e-6  # of numbers of frames
# Seconds at the end of a scene in which no frame is taken. Containers round
# times by less, so that such a frame could be of the next scene.
_MARGIN = 1e-3


class FilePart(io.RawIOBase):
  """A part of an open file, read as a file of its own."""

  def __init__(self, file: BinaryIO, offset: int, size: int):
    self._file, self._offset, self._size = file, offset, size
    self._at = 0

  def readable(self) -> bool:
    """Return that the part can be read."""
    return True

  def seekable(self) -> bool:
    """Return that the part can seek."""
    return True

  def seek(self, offset: int, whence: int = 0) -> int:
    """Move to a position, as in any file."""
    self._at = offset + (0, self._at, self._size)[whence]
    return self._at

  def readinto(self, buffer: Any) -> int:
    """Read bytes into a buffer, and return their number."""
    count = max(0, min(len(buffer), self._size - self._at))
    self._file.seek(self._offset + self._at)
    count = self._file.readinto(memoryview(buffer)[:count])  # type: ignore[attr-defined]
    self._at += count
    return count


class FileReader:
  """Decodes records in the files below a folder.

  The hash of a clip is checked once per process. Later only the needed parts
  are read, unless the size or the modification time of the file has changed.
  A record of a remote folder is always read in one request, and checked.
  """

  def __init__(self, folder: str | DataPath):
    self.folder = data_path(folder)
    self._is_remote = is_remote(self.folder)
    self._checked: set[int] = set()

  def opener(self) -> 'Callable[[], FileReader]':
    """Return what opens an equal reader in another process."""
    return functools.partial(type(self), str(self.folder))

  def read(self, record: schema.Record) -> bytes:
    """Return the bytes of a record.

    Raises:
      schema.DecodeError: 'missing_file', 'empty_file', 'truncated_file',
        'too_large', or 'changed_file' if the hash of the bytes is not that in
        the record's info.
    """
    if self._is_remote:
      return self._fetched(record)
    with self._opened(record) as (file, size):
      return _read_checked(record, file, size)

  def _fetched(self, record: schema.Record) -> bytes:
    """Return the bytes of a record of a remote folder, as `read` does."""
    try:
      data = read_part(
        self.folder / _plain_path(record),
        start=record.offset,
        size=record.size,
        most=MAX_BYTES + 1,
      )
    except FileNotFoundError as error:
      raise schema.DecodeError('missing_file', record.path) from error
    if len(data) > MAX_BYTES:
      raise schema.DecodeError('too_large', f'more than {MAX_BYTES} bytes')
    return _checked(record, data, max(record.size, 0))

  @contextlib.contextmanager
  def _opened(self, record: schema.Record) -> Iterator[tuple[BinaryIO, int]]:
    """Open the file of a record; yield it and the size of the record."""
    path = _plain_path(record)
    try:
      with open(self.folder / path, 'rb') as file:
        size = record.size
        if size < 0:
          size = os.fstat(file.fileno()).st_size - record.offset
        if size > MAX_BYTES:
          raise schema.DecodeError('too_large', f'{size} bytes')
        yield file, size
    except OSError as error:
      detail = f'{record.path}: {error.strerror}'
      raise schema.DecodeError('missing_file', detail) from error

  def examine(
    self, record: schema.Record, *, max_duration: float = math.inf
  ) -> schema.MediaInfo:
    """Decode a whole record and describe it.

    Args:
      record: a clip or an image.
      max_duration: in seconds; see `video.examine`.

    Raises:
      schema.DecodeError: the record cannot be used.
    """
    data = self.read(record)
    content_hash = hashlib.sha256(data).hexdigest()
    if record.kind == schema.IMAGE:
      picture = image.decode(data)
      return schema.MediaInfo(
        content_hash=content_hash, width=picture.width, height=picture.height
      )
    return video.examine(
      data, content_hash=content_hash, max_duration=max_duration
    )

  def timed(
    self, record: schema.Record, size: tuple[int, int]
  ) -> video.TimedFrames:
    """Decode every frame of a clip, or an image as one frame."""
    data = self.read(record)
    if record.kind == schema.CLIP:
      return video.decode(data, size=size)
    return video.TimedFrames(
      frames=transforms.fit(image.decode(data), size)[None],
      times=np.zeros(1),
      slack=0.0,
    )

  def example(
    self, record: schema.Record, request: schema.ExampleRequest
  ) -> schema.Example:
    """Decode the requested frames of a record with info.

    Raises:
      schema.DecodeError: the record cannot be used.
    """
    if record.kind == schema.IMAGE:
      frame = self.timed(record, request.size).frames[0]
      return schema.Example(pixels=frame, caption=record.caption)
    times = clip_times(record, request)
    if self._is_remote:
      frames = video.sample(self._fetched(record), times, size=request.size)
      return clip_example(record, request, frames)
    with self._opened(record) as (file, size):
      state = os.fstat(file.fileno())
      checked = hash(
        (
          record.path,
          record.offset,
          size,
          record.info,
          state.st_ino,
          state.st_size,
          state.st_mtime_ns,
        )
      )
      if checked in self._checked:
        frames = video.sample(
          _part(record, file, size), times, size=request.size
        )
      else:
        data = _read_checked(record, file, size)
        if len(self._checked) < _MAX_CHECKED:
          self._checked.add(checked)
        frames = video.sample(data, times, size=request.size)
    return clip_example(record, request, frames)


def _plain_path(record: schema.Record) -> pathlib.PurePosixPath:
  """Return the path of a record, which does not lead out of its folder."""
  path = pathlib.PurePosixPath(record.path)
  if not record.path or path.is_absolute() or '..' in path.parts:
    raise schema.DecodeError('missing_file', f'no file for {record.key!r}')
  return path


def _part(record: schema.Record, file: BinaryIO, size: int) -> video.Encoded:
  """Return the bytes of a small record, or the part of a file as a file."""
  if size > _SMALL:
    return FilePart(file, record.offset, size)
  file.seek(record.offset)
  return file.read(size)


def _read_checked(record: schema.Record, file: BinaryIO, size: int) -> bytes:
  """Read a record and compare its hash with that in its info."""
  file.seek(record.offset)
  return _checked(record, file.read(size), size)


def _checked(record: schema.Record, data: bytes, size: int) -> bytes:
  if len(data) < size:
    raise schema.DecodeError('truncated_file', f'{len(data)} of {size} bytes')
  info = record.info
  if info and hashlib.sha256(data).hexdigest() != info.content_hash:
    raise schema.DecodeError('changed_file', record.path)
  return data


def clip_times(
  record: schema.Record, request: schema.ExampleRequest
) -> Float64[np.ndarray, 'T']:
  """Return the times of the requested frames that the clip has, in seconds.

  The clip of a scene starts with its context frames, or at any frame of the
  scene if it has none.
  """
  info = record.info
  assert info is not None, 'the duration of the clip must be known'
  context = _context_frames(record, request)
  start = record.start_frame * info.duration / info.num_frames
  margin = _MARGIN if record.end_frame else 0.0
  return max(0.0, start - context / request.fps) + video.window(
    duration=context / request.fps + record.own_info(info).duration - margin,
    frames=request.frames,
    fps=request.fps,
    tubelet=request.tubelet,
    position=0.0 if context else request.position,
  )


def _context_frames(
  record: schema.Record, request: schema.ExampleRequest
) -> int:
  """Return the number of frames of a clip that show an earlier scene.

  There are none if the film before the scene is too short for those requested,
  or if the scene is too short for a latent frame of its own.
  """
  if not (record.start_frame and request.context_frames):
    return 0
  assert record.info is not None, 'the duration of the clip must be known'
  rate = record.info.num_frames / record.info.duration
  earlier = record.start_frame / rate * request.fps + ROUNDING
  own = record.own_info(record.info).duration * request.fps + ROUNDING
  has_context = earlier >= request.context_frames and own >= request.tubelet
  return request.context_frames if has_context else 0


def clip_example(
  record: schema.Record,
  request: schema.ExampleRequest,
  frames: UInt8[np.ndarray, 'T H W 3'],
) -> schema.Example:
  """Pad the frames of a clip to the requested number, repeating the last."""
  valid = len(frames)
  missing = request.frames - valid
  if missing:
    frames = np.concatenate([frames, np.repeat(frames[-1:], missing, axis=0)])
  return schema.Example(
    pixels=frames,
    caption=record.caption,
    num_frames=valid,
    context_frames=_context_frames(record, request),
  )
