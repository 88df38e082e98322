"""The table of records of a manifest: an Arrow file of small batches.

Every read takes one batch from the file. The file is not mapped into memory,
where its pages would count as memory of every process that reads it at random.
"""

import functools
import hashlib
import json
import os
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow
import pyarrow.compute
from jaxtyping import Bool, UInt32

from phenaki_jax.data import schema

COLUMNS = pyarrow.schema(
  {
    'source': pyarrow.int32(),
    'kind': pyarrow.string(),
    'key': pyarrow.string(),
    'caption': pyarrow.string(),
    'path': pyarrow.string(),
    'offset': pyarrow.int64(),
    'size': pyarrow.int64(),
    'content_hash': pyarrow.binary(32),
    'width': pyarrow.int32(),
    'height': pyarrow.int32(),
    'num_frames': pyarrow.int32(),
    'duration': pyarrow.float64(),
    'start_frame': pyarrow.int32(),
    'end_frame': pyarrow.int32(),
  }
)
"""The columns of the table. Older tables lack the last two."""

_SPAN = ('start_frame', 'end_frame')
_RECORD = ('kind', 'key', 'caption', 'path', 'offset', 'size', *_SPAN)
_INFO = ('content_hash', 'width', 'height', 'num_frames', 'duration')
# The content of a record. Its location may change when a folder is moved.
_HASHED = ('kind', 'key', 'caption', 'content_hash', 'num_frames', 'duration')
_BATCH = 128  # rows; about 32 kB
_KEPT = 16  # batches that were read last, because a row is read repeatedly


class RecordWriter:
  """Writes a table, row by row; a context manager.

  Attributes:
    count: number of rows so far.
  """

  def __init__(self, path: str | os.PathLike):
    self._writer = pyarrow.ipc.new_file(os.fspath(path), COLUMNS)
    self._rows: list[dict[str, Any]] = []
    self._digest = hashlib.sha256()
    self.count = 0

  def __enter__(self) -> 'RecordWriter':
    """Return the writer."""
    return self

  def __exit__(self, *_: object) -> None:
    """Write the remaining rows and close the file."""
    self._flush()
    self._writer.close()

  def add(
    self, source: int, record: schema.Record, info: schema.MediaInfo
  ) -> None:
    """Append a record of a source."""
    row = {
      'source': source,
      **{name: getattr(record, name) for name in _RECORD},
      'caption': record.caption.strip(),
      **{name: getattr(info, name) for name in _INFO},
    }
    self._digest.update(_hashed(row))
    row['content_hash'] = bytes.fromhex(info.content_hash)
    self._rows.append(row)
    self.count += 1
    if len(self._rows) == _BATCH:
      self._flush()

  def _flush(self) -> None:
    if self._rows:
      self._writer.write_batch(
        pyarrow.RecordBatch.from_pylist(self._rows, schema=COLUMNS)
      )
      self._rows = []

  def content_hash(self) -> str:
    """Return the hash of the content of all rows, in order."""
    return self._digest.hexdigest()


class RecordTable:
  """A table opened for reading."""

  def __init__(self, path: str | os.PathLike):
    """Open a table.

    Raises:
      pyarrow.ArrowInvalid: the file is not an Arrow file.
    """
    self._path = os.fspath(path)
    self._reader = pyarrow.ipc.open_file(pyarrow.OSFile(self._path))
    self._lock = threading.Lock()
    self._batch = functools.lru_cache(_KEPT)(self._read)
    # All batches but the last are of one size.
    last = self._reader.num_record_batches - 1
    self._size = self._batch(0).num_rows if last >= 0 else 1
    self._length = 0
    if last >= 0:
      self._length = last * self._size + self._batch(last).num_rows

  def __len__(self) -> int:
    """Return the number of rows."""
    return self._length

  def __getitem__(self, row: int) -> schema.Record:
    """Return the record of a row."""
    batch, place = self._place(row)
    return _record(batch.slice(place, 1).to_pylist()[0])

  def value(self, column: str, row: int) -> Any:
    """Return one value of a row."""
    batch, place = self._place(row)
    return batch.column(column)[place].as_py()

  def records(self) -> Iterator[tuple[int, schema.Record]]:
    """Yield the number of the source and the record of every row."""
    for batch in self._stream(COLUMNS.names):
      for values in batch.to_pylist():
        yield values['source'], _record(values)

  def content_hash(self) -> str:
    """Return the hash of the content of all rows, in order."""
    digest = hashlib.sha256()
    for batch in self._stream((*_HASHED, *_SPAN)):
      for row in batch.to_pylist():
        row['content_hash'] = row['content_hash'].hex()
        digest.update(_hashed(row))
    return digest.hexdigest()

  def of_kind(self, kind: str) -> Bool[np.ndarray, 'N']:
    """Return which rows are of a kind."""
    found = [
      np.asarray(pyarrow.compute.equal(batch.column('kind'), kind))
      for batch in self._stream(['kind'])
    ]
    return np.concatenate(found) if found else np.zeros(0, bool)

  def hash_prefixes(self) -> UInt32[np.ndarray, 'N']:
    """Return the first 32 bits of the content hash of every row."""
    found = [np.zeros(0, np.uint32)]
    for batch in self._stream(['content_hash']):
      _, data = batch.column('content_hash').buffers()
      digests = np.frombuffer(data, np.uint8).reshape(-1, 32)
      prefixes = digests[: batch.num_rows, :4].copy().view('>u4')
      found.append(prefixes[:, 0].astype(np.uint32))
    return np.concatenate(found)

  def _place(self, row: int) -> tuple[pyarrow.RecordBatch, int]:
    if not 0 <= row < self._length:
      raise IndexError(row)
    return self._batch(row // self._size), row % self._size

  def _read(self, number: int) -> pyarrow.RecordBatch:
    with self._lock:
      return self._reader.get_batch(number)

  def _stream(self, columns: Sequence[str]) -> Iterator[pyarrow.RecordBatch]:
    """Yield some columns of every batch."""
    names = self._reader.schema.names
    fields = [names.index(name) for name in columns if name in names]
    options = pyarrow.ipc.IpcReadOptions(included_fields=fields)
    with pyarrow.OSFile(self._path) as file:
      reader = pyarrow.ipc.open_file(file, options=options)
      for i in range(reader.num_record_batches):
        yield reader.get_batch(i)


def _record(values: dict[str, Any]) -> schema.Record:
  info = {name: values[name] for name in _INFO}
  info['content_hash'] = values['content_hash'].hex()
  record = {name: values[name] for name in _RECORD if name in values}
  return schema.Record(**record, info=schema.MediaInfo(**info))


def _hashed(row: dict[str, Any]) -> bytes:
  content = [row[name] for name in _HASHED]
  if row.get('end_frame'):  # Whole files are hashed as in older tables.
    content += [row[name] for name in _SPAN]
  return json.dumps(content).encode() + b'\n'
