"""A manifest: the records that `phenaki data build` kept, and their location.

A manifest is a folder:

    manifest.json     sources, counts and hashes; written last
    records.parquet   one row per kept record, with the hash of its content
    report.json       numbers of records that were left out, by reason
    dropped.jsonl     every record that a filter left out, with the reason
    quarantine.jsonl  every record that cannot be used, with the reason
    indices/          offset indices of tars in folders that are not writable

Its hash covers the kept records, in order, but not the location of the
sources, so the data may be moved. Checkpoints store a fingerprint of it.
"""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

from phenaki_jax.data import report, schema
from phenaki_jax.data.sources import base, files, storyworld
from phenaki_jax.errors import UserError
from phenaki_jax.files.digests import file_digest

VERSION = 1
HEADER = 'manifest.json'
RECORDS = 'records.parquet'
REPORT = 'report.json'
DROPPED = 'dropped.jsonl'
QUARANTINE = 'quarantine.jsonl'
INDICES = 'indices'

COLUMNS = pyarrow.schema(
  {
    'source': pyarrow.int32(),
    'kind': pyarrow.string(),
    'key': pyarrow.string(),
    'caption': pyarrow.string(),
    'path': pyarrow.string(),
    'offset': pyarrow.int64(),
    'size': pyarrow.int64(),
    'content_hash': pyarrow.string(),
    'width': pyarrow.int32(),
    'height': pyarrow.int32(),
    'num_frames': pyarrow.int32(),
    'duration': pyarrow.float64(),
  }
)
"""The columns of the records."""

RECORD_FIELDS = ('kind', 'key', 'caption', 'path', 'offset', 'size')
"""The fields of a record, beside its `info`, that are columns."""

_INFO = ('content_hash', 'width', 'height', 'num_frames', 'duration')
# The content of a record. Its location may change when a folder is moved.
_HASHED = ('kind', 'key', 'caption', 'content_hash', 'num_frames', 'duration')


class Manifest:
  """A manifest opened for reading.

  Attributes:
    folder: of the manifest.
    header: content of manifest.json.
    hash: of all kept records.
    readers: of the sources, in order.
  """

  def __init__(self, folder: str | os.PathLike):
    """Open a manifest and check that its table was not changed.

    Raises:
      UserError: the folder is not a manifest, or was changed after the build.
    """
    self.folder = pathlib.Path(folder)
    path = self.folder / HEADER
    if not path.is_file():
      raise UserError(
        f'{self.folder} is no manifest (it has no {HEADER}); build one with '
        '`phenaki data build --out DIR`'
      )
    try:
      self.header: dict[str, Any] = json.loads(path.read_text())
      version = self.header['version']
      self.hash = str(self.header['hash'])
      records_sha256 = self.header['records_sha256']
      specs = list(self.header['sources'])
    except (ValueError, KeyError, TypeError) as error:
      raise UserError(
        f'{path} cannot be read ({error}); build the manifest again'
      ) from error
    if version != VERSION:
      raise UserError(
        f'{path} has version {version!r}, but this program reads {VERSION}; '
        'build the manifest again'
      )
    table = self.folder / RECORDS
    if not table.is_file() or file_digest(table) != records_sha256:
      raise UserError(
        f'{table} is not the table that {HEADER} was written with; build the '
        'manifest again'
      )
    self._table = pyarrow.parquet.ParquetFile(table).read()
    self.readers: list[base.Reader] = [open_reader(spec) for spec in specs]

  def __len__(self) -> int:
    """Return the number of kept records."""
    return len(self._table)

  def __getitem__(self, row: int) -> schema.Record:
    """Return the record of a row."""
    values = self._table.slice(row, 1).to_pylist()[0]
    info = {name: values[name] for name in _INFO}
    record = {name: values[name] for name in RECORD_FIELDS}
    return schema.Record(**record, info=schema.MediaInfo(**info))

  def reader(self, row: int) -> base.Reader:
    """Return the reader of the pixels of a row."""
    return self.readers[self._table['source'][row].as_py()]

  def caption(self, row: int) -> str:
    """Return the caption of a row."""
    return self._table['caption'][row].as_py()

  def rows(
    self, kind: str, *, split: str = 'train', heldout_share: float = 0.0
  ) -> np.ndarray:
    """Return the rows of a kind and a split, in order.

    The split of a record depends on its content alone, so it does not change
    when sources are added or reordered.

    Args:
      kind: 'clip' or 'image'.
      split: 'train' or 'heldout'.
      heldout_share: share of the records in the split 'heldout', 0 to 1.
    """
    is_heldout = self._draws < heldout_share
    in_split = is_heldout if split == 'heldout' else ~is_heldout
    return np.flatnonzero((self._kinds == kind) & in_split)

  @functools.cached_property
  def _kinds(self) -> np.ndarray:
    return np.array(self._table['kind'].to_pylist(), dtype='U5')

  @functools.cached_property
  def _draws(self) -> np.ndarray:
    hashes = self._table['content_hash'].to_pylist()
    return np.array([int(text[:8], 16) / 2**32 for text in hashes])

  def reports(self) -> list[report.SourceReport]:
    """Return the report of each source, from report.json."""
    content = json.loads((self.folder / REPORT).read_text())
    names = {field.name for field in dataclasses.fields(report.SourceReport)}
    return [
      report.SourceReport(**{k: v for k, v in source.items() if k in names})
      for source in content['sources']
    ]

  def recomputed_hash(self) -> str:
    """Compute the hash of the kept records again."""
    return table_hash(self._table)


def open_reader(spec: dict[str, Any]) -> base.Reader:
  """Open the reader of a source from its spec.

  Raises:
    UserError: the layout is unknown.
  """
  layout = spec.get('layout')
  if layout == 'storyworld':
    fields = {key: value for key, value in spec.items() if key != 'layout'}
    return storyworld.StoryWorldReader(**fields)
  if layout in ('webvid', 'img2dataset'):
    return files.FileReader(spec['folder'])
  raise UserError(
    f'a manifest names the layout {layout!r}; webvid, img2dataset and '
    'storyworld are known'
  )


def table_hash(table: pyarrow.Table) -> str:
  """Hash the content of the records of a table, in order."""
  digest = hashlib.sha256()
  for batch in table.to_batches():
    for row in batch.to_pylist():
      values = [row[name] for name in _HASHED]
      digest.update(json.dumps(values).encode() + b'\n')
  return digest.hexdigest()
