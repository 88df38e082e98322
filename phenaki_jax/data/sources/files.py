"""A reader of records in the files of a folder: whole files or parts."""

import hashlib
import os
import pathlib

import numpy as np
from jaxtyping import Float64, UInt8

from phenaki_jax.data import image, schema, transforms, video

MAX_BYTES = video.MAX_BYTES
"""Larger records are rejected before they are read."""


class FileReader:
  """Decodes records in the files below a folder."""

  def __init__(self, folder: str | os.PathLike):
    self.folder = pathlib.Path(folder)

  def read(self, record: schema.Record) -> bytes:
    """Return the bytes of a record.

    Raises:
      schema.DecodeError: 'missing_file', 'empty_file', 'truncated_file',
        'too_large', or 'changed_file' if the hash of the bytes is not that in
        the record's info.
    """
    path = pathlib.PurePosixPath(record.path)
    if not record.path or path.is_absolute() or '..' in path.parts:
      raise schema.DecodeError('missing_file', f'no file for {record.key!r}')
    try:
      with open(self.folder / path, 'rb') as file:
        size = record.size
        if size < 0:
          size = os.fstat(file.fileno()).st_size - record.offset
        if size > MAX_BYTES:
          raise schema.DecodeError('too_large', f'{size} bytes')
        file.seek(record.offset)
        data = file.read(size)
    except OSError as error:
      detail = f'{record.path}: {error.strerror}'
      raise schema.DecodeError('missing_file', detail) from error
    if len(data) < size:
      raise schema.DecodeError('truncated_file', f'{len(data)} of {size} bytes')
    info = record.info
    if info and hashlib.sha256(data).hexdigest() != info.content_hash:
      raise schema.DecodeError('changed_file', record.path)
    return data

  def examine(self, record: schema.Record) -> schema.MediaInfo:
    """Decode a whole record and return what was found.

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
    return video.examine(data, content_hash=content_hash)

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
    frames = video.sample(self.read(record), times, size=request.size)
    return clip_example(record, request, frames)


def clip_times(
  record: schema.Record, request: schema.ExampleRequest
) -> Float64[np.ndarray, 'T']:
  """Return the times of the requested frames that the clip has, in seconds."""
  assert record.info is not None, 'the duration of the clip must be known'
  return video.window(
    duration=record.info.duration,
    frames=request.frames,
    fps=request.fps,
    tubelet=request.tubelet,
    position=request.position,
  )


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
  return schema.Example(pixels=frames, caption=record.caption, num_frames=valid)
