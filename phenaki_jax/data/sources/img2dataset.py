"""The img2dataset layout: tar shards, each with a parquet file of metadata.

`00000.tar` holds `<key>.jpg`, `.txt` and `.json`; `00000.parquet` has a row
for every key, including those that failed to download. The layout of
video2dataset is the same with `.mp4` members, and is read too. Members may be
in a folder of the archive and may have further words before the extension, as
in `00000/<key>.input.jpg`.
"""

import dataclasses
import os
import pathlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow
import pyarrow.parquet

from phenaki_jax.data import captions, filters, schema
from phenaki_jax.data.sources import files, shard_media, tables, tar_index
from phenaki_jax.errors import UserError
from phenaki_jax.files.paths import DataPath, data_path, is_remote, real_path
from phenaki_jax.files.remote import open_stream

_REQUIRED = ('key', 'caption')
# Only these columns are read.
_USED = (*_REQUIRED, 'status', 'attributes', *filters.COLUMNS)
_ROWS_PER_READ = 4096
NOT_UTF8 = b'\xff'
"""Stands for text that is not UTF-8."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Shard:
  """A shard.

  Attributes:
    name: of its files, without the suffix.
    rows: rows of the table; 0 if there is no readable table.
    columns: of the table.
    fault: why the table cannot be used; '' if it can.
    detail: the fault as a sentence.
  """

  name: str
  rows: int = 0
  columns: frozenset[str] = frozenset()
  fault: str = ''
  detail: str = ''


class Img2Dataset:
  """A source of the rows of all shards in a folder.

  One shard is held in memory at a time. A shard whose table cannot be used
  counts as broken records.
  """

  layout = 'img2dataset'

  def __init__(
    self,
    folder: str | DataPath,
    *,
    index_folder: str | os.PathLike | None = None,
  ):
    """Read the footers of the tables.

    Args:
      folder: folder of the shards.
      index_folder: where the indices go if `folder` is not writable.

    Raises:
      UserError: the folder or the shards are missing, no table can be used,
        or a remote one cannot be read.
    """
    self.folder = data_path(folder)
    if not self.folder.is_dir():
      raise UserError(
        f'there is no folder {self.folder}; name one in the '
        'img2dataset layout (tar and parquet files)'
      )
    # A server that fails would deny that a file exists.
    listed, self._tars = (
      {path.stem for path in self.folder.glob(f'*.{suffix}')}
      for suffix in ('parquet', 'tar')
    )
    names = listed | self._tars
    if not names:
      raise UserError(
        f'{self.folder} holds no shards; the img2dataset layout is '
        '00000.tar with 00000.parquet, 00001.tar, ...'
      )
    self._index_folder = (
      None if index_folder is None else pathlib.Path(index_folder)
    )
    self._shards = [
      _open(self.folder, name, has_table=name in listed)
      for name in sorted(names)
    ]
    usable = [shard.columns for shard in self._shards if not shard.fault]
    if not usable:
      raise UserError(self._shards[0].detail)
    self.columns = frozenset.intersection(*usable)
    self.reader = files.FileReader(self.folder)
    self._notes: Counter[str] = Counter()

  def __length_hint__(self) -> int:
    """Return the number of rows of the readable tables."""
    return sum(shard.rows for shard in self._shards)

  def __iter__(self) -> Iterator[schema.Record]:
    """Yield a record of every row, shard by shard.

    Raises:
      UserError: a shard cannot be read to its end.
    """
    self._notes.clear()
    for shard in self._shards:
      index = self._index(shard.name)
      self._notes.update(index.ignored)
      media = shard_media.ShardMedia(index.members)
      yield from self._records(shard, media)
      self._notes.update(media.unused)

  def _index(self, name: str) -> tar_index.TarIndex:
    """Return the index of a tar; that of one that cannot be opened is empty."""
    reason = 'missing_tar'
    if name in self._tars:
      tar = self.folder / f'{name}.tar'
      try:
        return tar_index.load(tar, fallback=self._index_folder)
      except OSError as error:
        tables.check_cannot_open(tar, error)
        reason = 'unreadable_tar'
    return tar_index.TarIndex(members={}, ignored={reason: 1})

  def _records(
    self, shard: _Shard, media: shard_media.ShardMedia
  ) -> Iterator[schema.Record]:
    if shard.fault == 'missing_table':
      for key in sorted(media.keys()):
        media.find(key)
        yield _broken(shard, key, shard.detail)
      return
    if shard.fault:
      # The number of rows of an unreadable table is unknown; it counts as one.
      for row in range(1, max(shard.rows, 1) + 1):
        yield _broken(shard, f'row-{row}', shard.detail)
      return
    row = 0
    try:
      for values in _rows(self.folder / f'{shard.name}.parquet'):
        row += 1
        yield self._record(shard, row, values, media)
    except (pyarrow.ArrowException, OSError) as error:
      path = self.folder / f'{shard.name}.parquet'
      _check_damage(path, error, rows=row)
      detail = f'{path.name}, row {row + 1}: {_first_line(error)}'
      shard = dataclasses.replace(shard, fault='unreadable_table')
      for rest in range(row + 1, shard.rows + 1):
        yield _broken(shard, f'row-{rest}', detail)

  def _record(
    self,
    shard: _Shard,
    row: int,
    values: dict[str, Any],
    media: shard_media.ShardMedia,
  ) -> schema.Record:
    key, caption = values['key'], captions.read(values['caption'])
    fault = caption.fault
    if isinstance(key, bytes):
      fault = 'key_not_utf8'
    elif key is None:
      fault = 'missing_key'
    if fault and not isinstance(key, str):
      key = f'row-{row}'
    if values.get('status') not in (None, 'success'):
      fault = 'not_downloaded'
    kind, offset, size = media.find(str(key)) or (schema.IMAGE, 0, -1)
    self._notes['further_captions_not_used'] += caption.unused
    return schema.Record(
      key=f'{shard.name}/{key}',
      kind=kind,
      caption=caption.text,
      path=f'{shard.name}.tar' if size >= 0 else '',
      offset=offset,
      size=max(size, 0),
      columns=values,
      fault=fault,
      detail=f'{shard.name}.parquet, row {row}' if fault else '',
    )

  def spec(self) -> dict[str, Any]:
    """Return the layout and the folder."""
    return {'layout': self.layout, 'folder': real_path(self.folder)}

  def notes(self) -> dict[str, int]:
    """Return counts of items that the last iteration left out, by reason.

    These are tar members that cannot be read, further media of a key, media
    without a row and further captions of a row.
    """
    return {key: self._notes[key] for key in sorted(+self._notes)}


def _open(folder: DataPath, name: str, *, has_table: bool) -> _Shard:
  """Read the footer of a table."""
  path = folder / f'{name}.parquet'
  if name != os.fsencode(name).decode('utf-8', 'replace'):
    detail = f'the name of {os.fsencode(str(path))!r} is not UTF-8'
    return _Shard(name=ascii(name)[1:-1], fault='unsafe_name', detail=detail)
  if not has_table:
    detail = (
      f'{folder / name}.tar has no {name}.parquet beside it; put back the '
      'table that img2dataset wrote with the tar'
    )
    return _Shard(name=name, fault='missing_table', detail=detail)
  try:
    with open_stream(path) as file:
      metadata = pyarrow.parquet.read_metadata(file)
    columns = metadata.schema.to_arrow_schema().names
  except (pyarrow.ArrowException, OSError) as error:
    _check_damage(path, error)
    detail = f'{path} cannot be read as parquet: {_first_line(error)}'
    return _Shard(name=name, fault='unreadable_table', detail=detail)
  shard = _Shard(name=name, rows=metadata.num_rows, columns=frozenset(columns))
  for required in _REQUIRED:
    if columns.count(required) != 1:
      detail = (
        f'{path} has no column {required!r}; the img2dataset layout needs '
        f'{", ".join(_REQUIRED)}, it has {", ".join(columns)}'
      )
      return dataclasses.replace(shard, fault='missing_column', detail=detail)
  return shard


def _rows(path: DataPath) -> Iterator[dict[str, Any]]:
  """Yield the used columns of every row; at most one batch is in memory."""
  with (
    open_stream(path) as file,
    pyarrow.parquet.ParquetFile(file, page_checksum_verification=True) as table,
  ):
    names = [name for name in _USED if name in table.schema_arrow.names]
    for batch in table.iter_batches(
      _ROWS_PER_READ, columns=names, use_threads=False
    ):
      columns = [column_values(batch.column(name)) for name in names]
      for values in zip(*columns, strict=True):
        yield dict(zip(names, values, strict=True))


def _check_damage(path: DataPath, error: Exception, *, rows: int = 0) -> None:
  """Check that an error is one of the content, or of opening a local file."""
  # Arrow also raises OSError for damage, without a number.
  if isinstance(error, OSError) and (error.errno or is_remote(path)):
    tables.check_cannot_open(path, error, rows=rows)


def column_values(column: pyarrow.Array) -> list[Any]:
  """Return the values of a column; `NOT_UTF8` for text that is not."""
  try:
    return column.to_pylist()
  except UnicodeDecodeError:
    return [_value(scalar) for scalar in column]


def _value(scalar: pyarrow.Scalar) -> Any:
  try:
    return scalar.as_py()
  except UnicodeDecodeError:
    return NOT_UTF8


def _broken(shard: _Shard, name: str, detail: str) -> schema.Record:
  return schema.Record(
    key=f'{shard.name}/{name}',
    kind=schema.IMAGE,
    caption='',
    fault=shard.fault,
    detail=detail,
  )


def _first_line(error: Exception) -> str:
  return str(error).partition('\n')[0]
