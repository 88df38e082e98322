"""A source whose records are in JSON Lines files of one folder."""

import abc
import functools
from collections.abc import Iterator
from typing import Any

from phenaki_jax.data import schema
from phenaki_jax.data.sources import tables
from phenaki_jax.errors import UserError
from phenaki_jax.files.paths import DataPath, data_path, real_path
from phenaki_jax.files.remote import open_stream

MAX_LINE = 2**20  # bytes; what follows counts as a line of its own


class LineSource(abc.ABC):
  """The lines of the `*.jsonl` files of a folder.

  If there are files of a training split (`*train*.jsonl`), only those are
  read; the others are counted in the notes. A local file that cannot be opened
  is a broken record.

  Attributes:
    layout: name of the layout.
    meaning: what its file is, for the error where there is none.
    folder: of the files.
    tables: the files that are read.
  """

  layout: str
  meaning: str

  def __init__(self, folder: str | DataPath):
    """Find the JSONL files.

    Raises:
      UserError: the folder or the files are missing.
    """
    self.folder = data_path(folder)
    found = sorted(self.folder.glob('*.jsonl'))
    if not found:
      raise UserError(f'{self.folder} holds no JSONL file; {self.meaning}')
    self.tables = [path for path in found if 'train' in path.name] or found
    self._ignored = len(found) - len(self.tables)

  def __iter__(self) -> Iterator[schema.Record]:
    """Yield the records of every line, in the order of the files.

    Raises:
      UserError: a file cannot be read to its end.
    """
    for path in self.tables:
      number = 0
      try:
        with open_stream(path) as file:
          lines = iter(functools.partial(file.readline, MAX_LINE), b'')
          for number, line in enumerate(lines, 1):
            if line.strip():
              yield from self.records(line, f'{path.name}:{number}')
      except OSError as error:
        tables.check_cannot_open(path, error, rows=number)
        # The number of lines is unknown, so the file counts as one record.
        yield broken(path.name, 'unreadable_table', f'{path}: {error}')

  @abc.abstractmethod
  def records(self, line: bytes, place: str) -> Iterator[schema.Record]:
    """Yield the records of a line.

    Args:
      line: JSON.
      place: the file and the number of the line.
    """

  def spec(self) -> dict[str, Any]:
    """Return the layout and the folder."""
    return {'layout': self.layout, 'folder': real_path(self.folder)}

  def notes(self) -> dict[str, int]:
    """Return the number of JSONL files that are not for training."""
    return {'jsonl_not_train': self._ignored} if self._ignored else {}


def broken(key: str, fault: str, detail: str) -> schema.Record:
  """Return the record of a line that cannot be used."""
  return schema.Record(
    key=key, kind=schema.CLIP, caption='', fault=fault, detail=detail
  )
