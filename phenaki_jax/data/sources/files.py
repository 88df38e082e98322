"""Read the records of a folder: whole files, or parts of larger ones."""

import hashlib
import os
import pathlib

import numpy as np

from phenaki_jax.data import image, schema, transforms, video

MAX_BYTES = video.MAX_BYTES
"""Larger records are refused before they are read."""


class FileReader:
  """Decode records of the files below a folder."""

  def __init__(self, folder: str | os.PathLike):
    self.folder = pathlib.Path(folder)

  def read(self, record: schema.Record) -> bytes:
    """Return the bytes of a record.

    Raises:
      schema.DecodeError: 'missing_file', 'empty_file', 'truncated_file' or
        'too_large'; 'changed_file' where the bytes are no longer those that
        the record's facts were taken from.
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
    facts = record.facts
    if facts and hashlib.sha256(data).hexdigest() != facts.content_hash:
      raise schema.DecodeError('changed_file', record.path)
    return data

  def examine(self, record: schema.Record) -> schema.Facts:
    """Decode a record fully, once, and return what was found.

    Raises:
      schema.DecodeError: the record cannot be used, with the reason.
    """
    data = self.read(record)
    content_hash = hashlib.sha256(data).hexdigest()
    if record.kind == schema.IMAGE:
      picture = image.decode(data)
      return schema.Facts(
        content_hash=content_hash, width=picture.width, height=picture.height
      )
    width, height, num_frames, duration = video.examine(data)
    return schema.Facts(
      content_hash=content_hash,
      width=width,
      height=height,
      num_frames=num_frames,
      duration=duration,
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

  def example(self, record: schema.Record, view: schema.View) -> schema.Example:
    """Decode what a view asks for, of an examined record.

    Raises:
      schema.DecodeError: the record cannot be used, with the reason.
    """
    if record.kind == schema.IMAGE:
      frame = self.timed(record, view.size).frames[0]
      return schema.Example(pixels=frame, caption=record.caption)
    times, valid = clip_times(record, view)
    frames = video.sample(self.read(record), times, size=view.size)
    return clip_example(record, view, frames, valid)


def clip_times(
  record: schema.Record, view: schema.View
) -> tuple[np.ndarray, int]:
  """Return the times of a view's real frames, and their number."""
  assert record.facts is not None, 'a clip is examined before it is sampled'
  return video.window(
    duration=record.facts.duration,
    frames=view.frames,
    fps=view.fps,
    position=view.position,
  )


def clip_example(
  record: schema.Record, view: schema.View, frames: np.ndarray, valid: int
) -> schema.Example:
  """Pad the real frames of a clip with the last of them."""
  missing = view.frames - valid
  if missing:
    frames = np.concatenate([frames, np.repeat(frames[-1:], missing, axis=0)])
  return schema.Example(pixels=frames, caption=record.caption, num_frames=valid)
