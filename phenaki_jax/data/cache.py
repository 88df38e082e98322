"""Keep decoded clips and images in memory, up to a bound.

A kept clip is all its frames at the wanted size, so any window of it can be
cut without decoding again; what is handed out is the same either way. When
the bound is reached nothing more is kept: under a shuffle that visits every
record once per epoch, throwing out what is kept would gain nothing.
"""

import threading

from phenaki_jax.data import schema, video
from phenaki_jax.data.sources import files


class FrameCache:
  """Read examples of files, keeping what was decoded."""

  def __init__(self, max_bytes: int):
    self._left = max_bytes
    self._kept: dict[tuple[str, tuple[int, int]], video.TimedFrames] = {}
    self._lock = threading.Lock()

  def example(
    self, reader: files.FileReader, record: schema.Record, view: schema.View
  ) -> schema.Example:
    """Return what `reader.example` returns, decoding only once.

    Raises:
      schema.DecodeError: the record cannot be used, with the reason.
    """
    timed = self._timed(reader, record, view.size)
    if timed is None:
      return reader.example(record, view)
    if record.kind == schema.IMAGE:
      return schema.Example(
        pixels=timed.frames[0].copy(), caption=record.caption
      )
    times, valid = files.clip_times(record, view)
    return files.clip_example(record, view, timed.at(times), valid)

  def _timed(
    self,
    reader: files.FileReader,
    record: schema.Record,
    size: tuple[int, int],
  ) -> video.TimedFrames | None:
    assert record.facts is not None, 'only examined records are loaded'
    key = (record.facts.content_hash, size)
    kept = self._kept.get(key)
    if kept is not None:
      return kept
    if record.facts.num_frames * size[0] * size[1] * 3 > self._left:
      return None
    timed = reader.timed(record, size)
    with self._lock:
      if key not in self._kept and timed.frames.nbytes <= self._left:
        self._left -= timed.frames.nbytes
        self._kept[key] = timed
    return timed
