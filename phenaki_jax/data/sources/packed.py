"""Records of a built set: re-encoded frames in ArrayRecord files.

A record is a safetensors file with the encoded frames of one clip or image, one
after the other, and where they come from. Its hash, in the manifest, covers all
of it and is checked whenever the record is read.
"""

import functools
import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import safetensors.numpy
from array_record.python.array_record_data_source import (
  ArrayRecordDataSource,
)
from jaxtyping import UInt8

from phenaki_jax.data import image, schema, transforms, video
from phenaki_jax.data.sources import files
from phenaki_jax.files.paths import DataPath, data_path
from phenaki_jax.files.remote import local_copy

_OPEN = 256  # files that are open at a time
_NAME = re.compile(r'[\w-]+\.array_record')
_SLACK = 1e-6  # seconds


def pack(frames: Sequence[bytes], provenance: Mapping[str, Any]) -> bytes:
  """Return the content of a record.

  Args:
    frames: encoded images of one size.
    provenance: where they come from, as JSON values.
  """
  text = json.dumps(provenance, sort_keys=True).encode()
  return safetensors.numpy.save(
    {
      'frames': np.frombuffer(b''.join(frames), np.uint8),
      'sizes': np.array([len(frame) for frame in frames], np.int32),
      'provenance': np.frombuffer(text, np.uint8),
    }
  )


def unpack(content: bytes) -> tuple[list[bytes], dict[str, Any]]:
  """Return the arguments of `pack`.

  Raises:
    schema.DecodeError: 'broken_file' if they are not in the content.
  """
  try:
    arrays = safetensors.numpy.load(content)
    ends = np.cumsum(arrays['sizes']).tolist()
    data = arrays['frames'].tobytes()
    starts = [0, *ends[:-1]]
    frames = [data[a:b] for a, b in zip(starts, ends, strict=True)]
    return frames, json.loads(arrays['provenance'].tobytes())
  except Exception as error:  # Damage appears as errors of many types.
    raise schema.DecodeError('broken_file', str(error)) from error


class PackedReader:
  """Decodes records in the ArrayRecord files of a folder."""

  def __init__(self, folder: str | DataPath):
    self.folder = data_path(folder)
    self._file = functools.lru_cache(_OPEN)(self._open)

  def opener(self) -> 'Callable[[], PackedReader]':
    """Return what opens an equal reader in another process."""
    return functools.partial(PackedReader, str(self.folder))

  def _open(self, name: str) -> ArrayRecordDataSource:
    if not _NAME.fullmatch(name):
      raise schema.DecodeError('missing_file', name)
    try:
      # A failure of the network is no fault of the file.
      path = local_copy(self.folder / name)
      os.stat(path)
    except FileNotFoundError as error:
      raise schema.DecodeError('missing_file', name) from error
    try:
      return ArrayRecordDataSource([path])
    except Exception as error:  # As in `unpack`.
      raise schema.DecodeError('broken_file', name) from error

  def read(self, record: schema.Record) -> bytes:
    """Return the content of a record.

    Raises:
      schema.DecodeError: 'missing_file', 'broken_file', or 'changed_file' if
        the hash of the content is not that in the record's info.
      ConnectionError: the file is remote and cannot be read.
    """
    file = self._file(record.path)
    try:
      content = file[record.offset]
    except Exception as error:  # As in `unpack`.
      raise schema.DecodeError('broken_file', record.path) from error
    info = record.info
    if info and hashlib.sha256(content).hexdigest() != info.content_hash:
      raise schema.DecodeError('changed_file', f'{record.path} {record.offset}')
    return content

  def examine(
    self, record: schema.Record, *, max_duration: float = math.inf
  ) -> schema.MediaInfo:
    """Decode a whole record and describe it, but not its duration.

    Raises:
      schema.DecodeError: the record cannot be used.
    """
    content = self.read(record)
    frames = unpack(content)[0]
    sizes = {image.decode(frame).size for frame in frames}
    if len(sizes) != 1:
      raise schema.DecodeError('broken_file', f'frames of sizes {sizes}')
    ((width, height),) = sizes
    return schema.MediaInfo(
      content_hash=hashlib.sha256(content).hexdigest(),
      width=width,
      height=height,
      num_frames=len(frames),
    )

  def timed(
    self, record: schema.Record, size: tuple[int, int]
  ) -> video.TimedFrames:
    """Decode every frame of a record."""
    assert record.info is not None, 'records of a manifest have been decoded'
    frames = unpack(self.read(record))[0]
    return video.TimedFrames(
      frames=np.stack([_sized(frame, size) for frame in frames]),
      times=np.arange(len(frames)) * record.info.duration / len(frames),
      slack=_SLACK,
    )

  def example(
    self, record: schema.Record, request: schema.ExampleRequest
  ) -> schema.Example:
    """Decode the requested frames of a record with info.

    Raises:
      schema.DecodeError: the record cannot be used.
    """
    info = record.info
    assert info is not None, 'records of a manifest have been decoded'
    frames = unpack(self.read(record))[0]
    if record.kind == schema.IMAGE:
      pixels = _sized(frames[0], request.size)
      return schema.Example(pixels=pixels, caption=record.caption)
    times = files.clip_times(record, request) + _SLACK
    places = np.floor(times * info.num_frames / info.duration).astype(int)
    shown = [
      _sized(frames[place], request.size)
      for place in np.clip(places, 0, len(frames) - 1)
    ]
    return files.clip_example(record, request, np.stack(shown))


def _sized(frame: bytes, size: tuple[int, int]) -> UInt8[np.ndarray, 'H W 3']:
  return transforms.fit(image.decode(frame), size)
