"""A bounded cache of decoded clips and images in memory.

All frames of a clip are kept at the requested size, so any part of it can be
cut out without decoding again. The examples are the same with and without the
cache. When the cache is full, nothing is evicted: shuffling visits every
record once per epoch, so eviction would not increase the number of hits.
"""

import logging
import threading

from phenaki_jax.data import schema, video
from phenaki_jax.data.sources import files

_log = logging.getLogger(__name__)


class FrameCache:
  """Reads examples from files and keeps the decoded frames."""

  def __init__(self, max_bytes: int):
    self._max = self._left = max_bytes
    self._kept: dict[tuple[str, tuple[int, int]], video.TimedFrames] = {}
    self._lock = threading.Lock()
    self._is_full = False

  def example(
    self,
    reader: files.FileReader,
    record: schema.Record,
    request: schema.ExampleRequest,
  ) -> schema.Example:
    """Return the result of `reader.example`, and decode only once.

    Raises:
      schema.DecodeError: the record cannot be used.
    """
    timed = self.timed(reader, record, request.size)
    if timed is None:
      return reader.example(record, request)
    return cut(record, request, timed)

  def timed(
    self,
    reader: files.FileReader,
    record: schema.Record,
    size: tuple[int, int],
  ) -> video.TimedFrames | None:
    """Return all frames of a record, which are kept; None without space.

    Raises:
      schema.DecodeError: the record cannot be used.
    """
    assert record.info is not None, 'records of a manifest have been decoded'
    key = (record.info.content_hash, size)
    kept = self._kept.get(key)
    if kept is not None:
      return kept
    if record.info.num_frames * size[0] * size[1] * 3 > self._left:
      self._report_full()
      return None
    timed = reader.timed(record, size)
    with self._lock:
      if key not in self._kept and timed.frames.nbytes <= self._left:
        self._left -= timed.frames.nbytes
        self._kept[key] = timed
      return self._kept.get(key)

  def _report_full(self) -> None:
    """Log once that some files are decoded again and again."""
    with self._lock:
      is_first, self._is_full = not self._is_full, True
    if is_first and self._max:
      _log.warning(
        'data.frame_cache_bytes=%d is too small for all files of the '
        'manifests; the others are decoded anew in every epoch. Raise it if '
        'the memory allows.',
        self._max,
      )


def cut(
  record: schema.Record,
  request: schema.ExampleRequest,
  timed: video.TimedFrames,
) -> schema.Example:
  """Cut the requested example out of all frames of a record."""
  if record.kind == schema.IMAGE:
    return schema.Example(pixels=timed.frames[0].copy(), caption=record.caption)
  times = files.clip_times(record, request)
  return files.clip_example(record, request, timed.at(times))
