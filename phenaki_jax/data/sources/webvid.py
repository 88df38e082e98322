"""The WebVid layout: CSV files with one video per row.

The video of a row is `<page_dir>/<videoid>.mp4`, in the folder itself or in
one of its subfolders (usually `videos`). Every field is read as a string,
because page_dir and videoid have leading zeros.
"""

import csv
import os
import pathlib
import re
from typing import Any

from phenaki_jax.data import schema
from phenaki_jax.data.sources import files
from phenaki_jax.errors import UserError

_REQUIRED = ('videoid', 'page_dir', 'name')
_SAFE = re.compile(r'(?!\.{1,2}$)[\w.-]+')


class WebVid:
  """A source of the rows of the CSV files in a folder.

  If there are CSV files of a training split (`*train*.csv`), only those are
  read; the others are counted in the notes.
  """

  layout = 'webvid'

  def __init__(self, folder: str | os.PathLike):
    """Read the CSV files.

    Raises:
      UserError: the folder or the CSV files are missing, or a file lacks a
        column or cannot be read.
    """
    self.folder = pathlib.Path(folder)
    if not self.folder.is_dir():
      raise UserError(
        f'there is no folder {self.folder}; name one in the '
        'WebVid layout (CSV files and videos)'
      )
    tables = sorted(self.folder.glob('*.csv'))
    if not tables:
      raise UserError(
        f'{self.folder} holds no CSV file; the WebVid layout is a CSV with '
        f'the columns {", ".join(_REQUIRED)} beside the videos'
      )
    training = [path for path in tables if 'train' in path.name]
    self._skipped = len(tables) - len(training) if training else 0
    self._rows: list[dict[str, str | None]] = []
    names = None
    for path in training or tables:
      columns = self._read(path)
      names = columns if names is None else names & columns
    self.columns = frozenset(names or ())
    parts = sorted(p.name for p in self.folder.iterdir() if p.is_dir())
    self._parts = sorted(parts, key=lambda name: name != 'videos') + ['']
    self.reader = files.FileReader(self.folder)

  def _read(self, path: pathlib.Path) -> set[str]:
    with open(path, newline='', encoding='utf-8-sig') as file:
      table = csv.DictReader(file, restkey='', strict=True)
      try:
        names = set(table.fieldnames or ())
        for name in _REQUIRED:
          if name not in names:
            found = ', '.join(sorted(names)) or 'none'
            raise UserError(
              f'{path} has no column {name!r}; the WebVid layout needs '
              f'{", ".join(_REQUIRED)}, it has {found}'
            )
        self._rows.extend(table)
      except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(
          f'{path}, line {table.line_num + 1}, cannot be read as CSV: {error}'
        ) from error
    return names

  def __len__(self) -> int:
    """Return the number of rows."""
    return len(self._rows)

  def __getitem__(self, index: int) -> schema.Record:
    """Return the row at `index`."""
    row = self._rows[index]
    page, video = row['page_dir'] or '', row['videoid'] or ''
    # Missing fields are None; surplus fields have the empty name.
    is_whole = '' not in row and None not in row.values()
    fault = '' if is_whole else 'malformed_row'
    if not fault and not (_SAFE.fullmatch(page) and _SAFE.fullmatch(video)):
      fault = 'unsafe_name'
    return schema.Record(
      key=f'{page}__{video}',
      kind=schema.CLIP,
      caption=row['name'] or '',
      path='' if fault else self._path(page, video),
      columns=dict(row),
      fault=fault,
    )

  def _path(self, page: str, video: str) -> str:
    paths = [f'{part}/{page}/{video}.mp4'.lstrip('/') for part in self._parts]
    for path in paths:
      if (self.folder / path).is_file():
        return path
    return paths[0]

  def spec(self) -> dict[str, Any]:
    """Return the layout and the folder."""
    return {'layout': self.layout, 'folder': str(self.folder.resolve())}

  def notes(self) -> dict[str, int]:
    """Return the number of CSV files outside the training split."""
    return {'csv_not_train': self._skipped} if self._skipped else {}
