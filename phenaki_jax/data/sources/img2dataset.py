"""The img2dataset layout: tar shards, each with a parquet file of metadata.

`00000.tar` holds `<key>.jpg`, `.txt` and `.json`; `00000.parquet` has a row
for every key, including those that failed to download. The layout of
video2dataset is the same with `.mp4` members, and is read too.
"""

import os
import pathlib
from collections import Counter
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

from phenaki_jax.data import schema
from phenaki_jax.data.sources import files, tar_index
from phenaki_jax.errors import UserError

_REQUIRED = ('key', 'caption')
_KINDS = {
  **dict.fromkeys(('jpg', 'jpeg', 'png', 'webp', 'gif', 'bmp'), schema.IMAGE),
  **dict.fromkeys(('mp4', 'webm', 'mkv', 'mov', 'avi'), schema.CLIP),
}


class Img2Dataset:
  """A source of the rows of all shards in a folder."""

  layout = 'img2dataset'

  def __init__(
    self,
    folder: str | os.PathLike,
    *,
    index_folder: str | os.PathLike | None = None,
  ):
    """Read the tables, and index the tars that have no index yet.

    Args:
      folder: folder of the shards.
      index_folder: where the indices go if `folder` is not writable.

    Raises:
      UserError: the folder or the shards are missing, or a table lacks a
        column or cannot be read.
    """
    self.folder = pathlib.Path(folder)
    if not self.folder.is_dir():
      raise UserError(
        f'there is no folder {self.folder}; name one in the '
        'img2dataset layout (tar and parquet files)'
      )
    tables = sorted(self.folder.glob('*.parquet'))
    tars = sorted(self.folder.glob('*.tar'))
    if not tables and not tars:
      raise UserError(
        f'{self.folder} holds no shards; the img2dataset layout is '
        '00000.tar with 00000.parquet, 00001.tar, ...'
      )
    alone = {p.stem for p in tars} - {p.stem for p in tables}
    if alone:
      raise UserError(
        f'{self.folder / min(alone)}.tar has no {min(alone)}.parquet beside '
        'it; put back the table that img2dataset wrote with the tar'
      )
    self._tables = [_read(path) for path in tables]
    self._names = [path.stem for path in tables]
    fallback = None if index_folder is None else pathlib.Path(index_folder)
    self._indices = [
      tar_index.load(path.with_suffix('.tar'), fallback=fallback)
      if path.with_suffix('.tar').is_file()
      else tar_index.TarIndex(members={}, ignored={'missing_tar': 1})
      for path in tables
    ]
    self._ends = np.cumsum([len(table) for table in self._tables])
    self.columns = frozenset(
      set.intersection(*(set(t.column_names) for t in self._tables))
    )
    self.reader = files.FileReader(self.folder)

  def __len__(self) -> int:
    """Return the number of rows in all shards."""
    return int(self._ends[-1])

  def __getitem__(self, index: int) -> schema.Record:
    """Return the row at `index`, counted over all shards in order."""
    if not 0 <= index < len(self):
      raise IndexError(index)
    shard = int(np.searchsorted(self._ends, index, side='right'))
    table = self._tables[shard]
    row = table.slice(index - int(self._ends[shard]) + len(table), 1)
    columns = row.to_pylist()[0]
    key = str(columns['key'])
    members = self._indices[shard].members.get(key, {})
    extension = next((name for name in members if name in _KINDS), '')
    offset, size = members.get(extension, (0, 0))
    failed = columns.get('status') not in (None, 'success')
    return schema.Record(
      key=f'{self._names[shard]}/{key}',
      kind=_KINDS.get(extension, schema.IMAGE),
      caption=str(columns['caption'] or ''),
      path=f'{self._names[shard]}.tar' if extension else '',
      offset=offset,
      size=size,
      columns=columns,
      fault='not_downloaded' if failed else '',
    )

  def spec(self) -> dict[str, Any]:
    """Return the layout and the folder."""
    return {'layout': self.layout, 'folder': str(self.folder.resolve())}

  def notes(self) -> dict[str, int]:
    """Return the numbers of tar members that are left out, by reason."""
    total: Counter[str] = Counter()
    for index in self._indices:
      total.update(index.ignored)
    return dict(sorted(total.items()))


def _read(path: pathlib.Path) -> pyarrow.Table:
  try:
    table = pyarrow.parquet.ParquetFile(path).read()
  except (pyarrow.ArrowException, OSError) as error:
    detail = str(error).splitlines()[0]
    raise UserError(f'{path} cannot be read as parquet: {detail}') from error
  for name in _REQUIRED:
    if name not in table.column_names:
      raise UserError(
        f'{path} has no column {name!r}; the img2dataset layout needs '
        f'{", ".join(_REQUIRED)}, it has {", ".join(table.column_names)}'
      )
  return table
