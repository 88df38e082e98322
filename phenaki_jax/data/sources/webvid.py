"""The WebVid layout: CSV files with one video per row.

The video of a row is `<page_dir>/<videoid>.mp4`, in the folder itself or in
one of its subfolders (usually `videos`); page_dir may be empty. Every field is
read as a string, because page_dir and videoid have leading zeros.
"""

import functools
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from phenaki_jax.data import schema
from phenaki_jax.data.sources import csv_rows, files, tables
from phenaki_jax.errors import UserError
from phenaki_jax.files.paths import DataPath, data_path, is_remote, real_path

_REQUIRED = ('videoid', 'page_dir', 'name')
# A plain name of a file or folder. Any other could lead out of the folder.
_PLAIN = re.compile(r'(?!\.{1,2}$)[^/\\\x00-\x1f\x7f]+')


# Names that are not UTF-8 cannot be stored, so videos below them are missing.
_BAD_BYTE = re.compile('[\udc80-\udcff]')


class WebVid:
  """A source of the rows of the CSV files in a folder.

  If there are CSV files of a training split (`*train*.csv`), only those are
  read; the others are counted in the notes. The rows of a file that lacks a
  column are broken records, and so is a local file that cannot be opened.
  """

  layout = 'webvid'

  def __init__(self, folder: str | DataPath):
    """Read the headers of the CSV files.

    Raises:
      UserError: the folder or the CSV files are missing, every file lacks a
        column, or a remote one cannot be read.
    """
    self.folder = data_path(folder)
    if not self.folder.is_dir():
      raise UserError(
        f'there is no folder {self.folder}; name one in the '
        'WebVid layout (CSV files and videos)'
      )
    found = sorted(self.folder.glob('*.csv'))
    if not found:
      raise UserError(
        f'{self.folder} holds no CSV file; the WebVid layout is a CSV with '
        f'the columns {", ".join(_REQUIRED)} beside the videos'
      )
    training = [path for path in found if 'train' in path.name]
    self._tables = training or found
    self._notes = Counter(csv_not_train=len(found) - len(self._tables))
    self._faults: dict[DataPath, str] = {}
    columns = []
    for path in self._tables:
      try:
        names = frozenset(_checked_header(path))
      except OSError as error:
        tables.check_cannot_open(path, error)
        self._faults[path] = f'{path} cannot be read: {error.strerror}'
      except UserError as error:
        self._faults[path] = str(error)
      else:
        columns.append(names)
    if not columns:
      raise UserError(self._faults[self._tables[0]])
    self.columns = frozenset.intersection(*columns)
    self.reader = files.FileReader(self.folder)

  def __iter__(self) -> Iterator[schema.Record]:
    """Yield a record of every row, in the order of the files.

    Raises:
      UserError: a file cannot be read to its end.
    """
    for path in self._tables:
      rows = 0
      try:
        for row in csv_rows.read_rows(path, key='videoid'):
          rows += 1
          yield self._record(path, row)
      except OSError as error:
        tables.check_cannot_open(path, error, rows=rows)
        # The number of rows is unknown, so the file counts as one record.
        yield _broken(path.name, 'unreadable_table', f'{path}: {error}')

  def _record(self, path: DataPath, row: csv_rows.Row) -> schema.Record:
    place = f'{path.name}, line {row.line}'
    if row.fault or path in self._faults:
      fault = row.fault or 'missing_column'
      detail = f'{place}: {row.detail or self._faults[path]}'
      return _broken(f'{path.name}:{row.line}', fault, detail)
    values = row.values
    page, video = values['page_dir'].strip(), values['videoid'].strip()
    fault = detail = ''
    if not (_PLAIN.fullmatch(video) and (not page or _PLAIN.fullmatch(page))):
      fault = 'unsafe_name'
      detail = f'{place}: videoid {video!r}, page_dir {page!r}'
    return schema.Record(
      key=f'{page}__{video}',
      kind=schema.CLIP,
      caption=values['name'],
      path='' if fault else self._path(page, video),
      columns=values,
      fault=fault,
      detail=detail,
    )

  def _path(self, page: str, video: str) -> str:
    name = f'{page}/{video}.mp4'.lstrip('/')
    parts = self._parts.get(page, ('videos',))
    paths = [f'{part}/{name}'.lstrip('/') for part in parts]
    if len(paths) > 1:
      for path in paths:
        if (self.folder / path).is_file():
          return path
    return paths[0]

  @functools.cached_property
  def _parts(self) -> dict[str, tuple[str, ...]]:
    """The subfolders that hold a page, by page; '' is the folder itself.

    The page '' stands for the subfolders that hold videos without a page.
    Every subfolder is listed once, so the cost does not depend on the number
    of rows. `videos` comes first and the folder itself last.
    """
    subfolders = sorted(_list(self.folder)[0])
    subfolders.sort(key=lambda name: name != 'videos')
    found: dict[str, list[str]] = defaultdict(list)
    for part in [*subfolders, '']:
      pages, has_videos = _list(self.folder / part)
      for page in [*pages, ''] if has_videos else pages:
        found[page].append(part)
    shared: dict[tuple[str, ...], tuple[str, ...]] = {}
    return {
      page: shared.setdefault(tuple(parts), tuple(parts))
      for page, parts in found.items()
    }

  def spec(self) -> dict[str, Any]:
    """Return the layout and the folder."""
    return {'layout': self.layout, 'folder': real_path(self.folder)}

  def notes(self) -> dict[str, int]:
    """Return the number of CSV files that are not for training."""
    return {reason: count for reason, count in self._notes.items() if count}


def _broken(key: str, fault: str, detail: str) -> schema.Record:
  return schema.Record(
    key=key, kind=schema.CLIP, caption='', fault=fault, detail=detail
  )


def _checked_header(path: DataPath) -> tuple[str, ...]:
  """Return the names of the columns of a file.

  Raises:
    OSError: the file cannot be read.
    UserError: it lacks or repeats a column.
  """
  names = tuple(filter(None, csv_rows.read_header(path)))
  for name in _REQUIRED:
    count = names.count(name)
    if count != 1:
      if any('\0' in column or _BAD_BYTE.search(column) for column in names):
        raise UserError(f'{path} is not UTF-8 text; save it as UTF-8')
      # Control characters may be printed as escapes only.
      found = ', '.join(repr(name)[1:-1] for name in sorted(names)) or 'none'
      raise UserError(
        f'{path} has {count or "no"} column{"s" * (count > 1)} {name!r}; the '
        f'WebVid layout needs {", ".join(_REQUIRED)}, it has {found}'
      )
  return names


def _list(folder: DataPath) -> tuple[list[str], bool]:
  """Return the subfolders of a folder, and whether it holds a video."""
  subfolders, has_videos = [], False
  try:
    for name, is_folder in _entries(folder):
      if name.endswith('.mp4'):
        has_videos = True
      elif is_folder and not _BAD_BYTE.search(name):
        subfolders.append(name)
  except OSError as error:
    # Its videos are counted as missing files.
    if not isinstance(error, FileNotFoundError):
      tables.check_cannot_open(folder, error)
  return subfolders, has_videos


def _entries(folder: Any) -> Iterator[tuple[str, bool]]:
  """Yield the names in a folder, and whether they are folders."""
  if is_remote(folder):
    for entry in folder.fs.ls(str(folder), detail=True):
      name = entry['name'].rstrip('/').rpartition('/')[2]
      yield name, entry['type'] == 'directory'
    return
  with os.scandir(folder) as entries:
    for entry in entries:
      yield entry.name, entry.is_dir()
