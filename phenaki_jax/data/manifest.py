"""A manifest: the records that `phenaki data build` kept, and their location.

A manifest is a folder:

    manifest.json     sources, counts and hashes; written last
    records.arrow     one row per kept record, with the hash of its content
    report.json       numbers of records that were left out, by reason
    dropped.jsonl     every record that a filter left out, with the reason
    quarantine.jsonl  every record that cannot be used, with the reason
    indices/          offset indices of tars in folders that are not writable

Its hash covers the kept records, in order, but not the location of the
sources, so the data may be moved. Checkpoints store a fingerprint of it.
"""

import dataclasses
import functools
import itertools
import json
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, UInt32

from phenaki_jax.data import records, report, schema
from phenaki_jax.data.sources import (
  base,
  files,
  packed,
  stories,
  storyworld,
  tfds,
)
from phenaki_jax.errors import UserError
from phenaki_jax.files.digests import file_digest
from phenaki_jax.files.paths import DataPath, data_path
from phenaki_jax.files.remote import local_copy

VERSION = 2
HEADER = 'manifest.json'
RECORDS = 'records.arrow'
REPORT = 'report.json'
DROPPED = 'dropped.jsonl'
QUARANTINE = 'quarantine.jsonl'
INDICES = 'indices'


class Manifest:
  """A manifest opened for reading.

  Attributes:
    folder: of the manifest.
    header: content of manifest.json.
    hash: of all kept records.
    readers: of the sources, in order.
  """

  def __init__(self, folder: str | DataPath):
    """Open a manifest and check that its table was not changed.

    Raises:
      UserError: the folder is not a manifest, or was changed after the build.
    """
    self.folder = data_path(folder)
    path = self.folder / HEADER
    if not path.is_file():
      raise UserError(
        f'{self.folder} is not a manifest: it has no {HEADER}; build one with '
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
    place = self.folder / RECORDS
    table = local_copy(place) if place.is_file() else ''
    if not table or file_digest(table) != records_sha256:
      raise UserError(
        f'{place} is not the table that {HEADER} was written with; build the '
        'manifest again'
      )
    self._table = records.RecordTable(table)
    self.readers: list[base.Reader] = [
      open_reader(spec, self.folder) for spec in specs
    ]

  def __len__(self) -> int:
    """Return the number of kept records."""
    return len(self._table)

  def __getitem__(self, row: int) -> schema.Record:
    """Return the record of a row."""
    return self._table[row]

  def records(self) -> Iterator[tuple[schema.Record, base.Reader]]:
    """Yield every record with the reader of its pixels, in order."""
    for source, record in self._table.records():
      yield record, self.readers[source]

  def first_records(self, source: int, count: int) -> list[schema.Record]:
    """Return at most `count` first records of a source."""
    found = (
      record for number, record in self._table.records() if number == source
    )
    return list(itertools.islice(found, count))

  def reader(self, row: int) -> base.Reader:
    """Return the reader of the pixels of a row."""
    return self.readers[self._table.value('source', row)]

  def caption(self, row: int) -> str:
    """Return the caption of a row."""
    return self._table.value('caption', row)

  def earlier(self, row: int) -> list[int]:
    """Return the rows of the scenes of the same film before a row, in order."""
    own = self[row]
    if not own.start_frame:
      return []
    assert own.info is not None, 'records of a manifest have been decoded'
    found = []
    for other in np.flatnonzero(self._draws == self._draws[row]).tolist():
      one = self[other]
      is_before = 0 < one.end_frame <= own.start_frame
      if (
        is_before
        and one.info
        and one.info.content_hash == (own.info.content_hash)
      ):
        found.append((one.start_frame, other))
    return [other for _, other in sorted(found)]

  def rows(
    self,
    kind: str,
    *,
    split: Literal['train', 'heldout'] = 'train',
    heldout_share: float = 0.0,
  ) -> np.ndarray:
    """Return the rows of a kind and a split, in order.

    The split of a record depends on its content alone, so it does not change
    when sources are added or reordered.

    Args:
      kind: 'clip' or 'image'.
      split: 'train' or 'heldout'.
      heldout_share: share of the records in the split 'heldout', 0 to 1.
    """
    # The hash is a random number of 32 bits, the same for the same content.
    is_heldout = self._draws < heldout_share * 2**32
    in_split = is_heldout if split == 'heldout' else ~is_heldout
    is_kind = self._is_clip if kind == schema.CLIP else ~self._is_clip
    return np.flatnonzero(is_kind & in_split)

  @functools.cached_property
  def _is_clip(self) -> Bool[np.ndarray, 'N']:
    return self._table.of_kind(schema.CLIP)

  @functools.cached_property
  def _draws(self) -> UInt32[np.ndarray, 'N']:
    return self._table.hash_prefixes()

  @property
  def has_films(self) -> bool:
    """Return whether a source has films of several scenes."""
    return any(
      spec['layout'] == 'stories' or spec.get('has_films', False)
      for spec in self.header['sources']
    )

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
    return self._table.content_hash()


def open_reader(spec: dict[str, Any], folder: DataPath) -> base.Reader:
  """Open the reader of a source from its spec.

  Args:
    spec: of the source.
    folder: of the manifest, which holds the files of a packed source.

  Raises:
    UserError: the layout is unknown.
  """
  layout = spec.get('layout')
  if layout == 'storyworld':
    fields = {key: value for key, value in spec.items() if key != 'layout'}
    return storyworld.StoryWorldReader(**fields)
  if layout in ('webvid', 'img2dataset', 'jsonl', 'folder'):
    return files.FileReader(spec['folder'])
  if layout == 'stories':
    return stories.StoryReader(spec['folder'])
  if layout == 'packed':
    return packed.PackedReader(folder)
  if layout == 'tfds':
    fields = {key: value for key, value in spec.items() if key != 'layout'}
    return tfds.TfdsReader(**fields)
  raise UserError(
    f'a manifest names the layout {layout!r}; webvid, img2dataset, jsonl, '
    'folder, stories, tfds, packed and storyworld are known'
  )
