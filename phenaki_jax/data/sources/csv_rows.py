"""The rows of a CSV file, read as a stream.

A row that cannot be read has a fault, and the next line starts a new row. In
particular, a stray quotation mark does not join the rows that follow it.
Unnamed columns, such as the index that pandas writes, and empty fields beyond
the last column are dropped.
"""

import collections
import csv
import dataclasses
import functools
import io
import re
from collections.abc import Iterator, Sequence

from phenaki_jax.files.paths import DataPath, data_path
from phenaki_jax.files.remote import open_stream

MALFORMED = 'malformed_row'
QUOTES = 'malformed_quotes'
NOT_UTF8 = 'not_utf8'

_MAX_LINE = 2**20  # characters; a longer line is divided
_MAX_LINES = 100  # of one row
# Python's stand-ins for bytes that are not UTF-8.
_BAD_BYTE = re.compile('[\udc80-\udcff]')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
  """A row of a table.

  Attributes:
    line: number of its first line in the file, from 1.
    values: the fields by column name; empty if there is a fault.
    fault: why the row cannot be read; '' if it can.
    detail: description of the fault.
  """

  line: int
  values: dict[str, str]
  fault: str = ''
  detail: str = ''


def read_header(path: str | DataPath) -> tuple[str, ...]:
  """Return the names of the columns; unnamed columns have the name ''."""
  with _open(path) as file:
    return tuple(name.strip() for name in _header(_Lines(file)))


def read_rows(path: str | DataPath, *, key: str) -> Iterator[Row]:
  """Yield the rows of a file, in order; empty lines are not rows.

  Args:
    path: the file.
    key: name of the column that identifies a row, whose fields are not empty
      and have no spaces. It identifies lines that begin a row.
  """
  with _open(path) as file:
    lines = _Lines(file)
    header = _header(lines)
    names = [name.strip() for name in header]
    reader = _RowReader(
      lines=lines,
      width=len(names),
      key=names.index(key) if key in names else 0,
      # Spaces after the commas of the header mean that spaces before a
      # quotation mark are ignored: 'a, "b, c"' then has two fields.
      spaced=any(name.startswith(' ') for name in header[1:]),
    )
    for line in iter(lines.next, ''):
      number = lines.number
      if not line.strip('\r\n'):
        continue
      if '"' in line:
        values = reader.quoted(line)
      else:
        values = line.rstrip('\r\n').split(',')
      yield _row(number, line, values, names)


def _open(path: str | DataPath) -> io.TextIOWrapper:
  return io.TextIOWrapper(
    open_stream(data_path(path)),
    encoding='utf-8-sig',
    errors='surrogateescape',
    newline='',
  )


def _row(
  number: int, line: str, values: list[str] | None, names: Sequence[str]
) -> Row:
  """Make a row of the fields, or of None if the quotation marks are wrong."""
  if values is None:
    return Row(line=number, values={}, fault=QUOTES, detail=_excerpt(line))
  width = len(names)
  if not any(map(str.strip, values[width:])):
    del values[width:]
  if not any(names[len(values) :]):
    values += [''] * (width - len(values))
  if len(values) != width:
    detail = f'{len(values)} fields instead of {width}: {_excerpt(line)}'
    return Row(line=number, values={}, fault=MALFORMED, detail=detail)
  if ('"' in line or not line.isascii()) and any(map(_BAD_BYTE.search, values)):
    return Row(line=number, values={}, fault=NOT_UTF8, detail=_excerpt(line))
  found = dict(zip(names, values, strict=True))
  found.pop('', None)
  return Row(line=number, values=found)


def _excerpt(line: str) -> str:
  """Return the beginning of a line, with escapes for unprintable characters."""
  return repr(line.rstrip('\r\n')[:80])


class _Lines:
  """The lines of a file, of which some can be put back."""

  def __init__(self, file: io.TextIOWrapper):
    self._read = functools.partial(file.readline, _MAX_LINE)
    self._waiting: collections.deque[str] = collections.deque()
    self.number = 0  # of the last line that was read, from 1

  def next(self) -> str:
    """Return the next line with its line break; '' at the end."""
    self.number += 1
    return self._waiting.popleft() if self._waiting else self._read()

  def put_back(self, lines: Sequence[str]) -> None:
    """Return the last lines that were read, to read them again."""
    self._waiting.extendleft(reversed(lines))
    self.number -= len(lines)


def _header(lines: _Lines) -> list[str]:
  for line in iter(lines.next, ''):
    if line.strip('\r\n'):
      return _fields(line, spaced=', "' in line)
  return []


def _fields(line: str, *, spaced: bool) -> list[str]:
  """Divide one line, tolerating wrong quotation marks."""
  try:
    return next(csv.reader([line], skipinitialspace=spaced), [])
  except csv.Error:  # A field is too long.
    return []


@dataclasses.dataclass(frozen=True, kw_only=True)
class _RowReader:
  """Reads rows that have quotation marks, over several lines if need be."""

  lines: _Lines
  width: int
  key: int
  spaced: bool

  def quoted(self, first: str) -> list[str] | None:
    """Return the fields of the row that begins with a line.

    Returns:
      The fields; None if the quotation marks are wrong. Then only one line
      has been read.
    """
    taken: list[str] = []

    def feed() -> Iterator[str]:
      yield first
      is_whole = self._is_row(first)
      while len(taken) < _MAX_LINES:
        line = self.lines.next()
        taken.append(line)
        # A quotation mark is still open before this line. If the first line
        # and this one are both complete rows, the mark is a stray one.
        if not line or (is_whole and self._is_row(line)):
          return
        yield line

    reader = csv.reader(feed(), strict=True, skipinitialspace=self.spaced)
    try:
      values = next(reader)
    except (csv.Error, StopIteration):
      values = []
    if values and (not taken or len(values) == self.width):
      return values
    self.lines.put_back(taken)
    return None

  def _is_row(self, line: str) -> bool:
    for fields in (line.split(','), _fields(line, spaced=self.spaced)):
      if len(fields) == self.width:
        key = fields[self.key].strip()
        if key and ' ' not in key:
          return True
    return False
