r"""A folder of clips and images, and JSON Lines about them.

A line of a `*.jsonl` file (usually `metadata.jsonl`) describes one file, as in
the folders that Hugging Face `datasets` reads:

    {"file_name": "clips/0001.mp4", "text": "a man walks", "punsafe": 0.01}

The file may also be called `path`, and the text `caption`. The kind follows
from the extension.
"""

import functools
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from phenaki_jax.data import captions, filters, schema
from phenaki_jax.data.sources import files, shard_media
from phenaki_jax.errors import UserError

_FILES = ('file_name', 'path')
_CAPTIONS = ('text', 'caption')
_USED = (*filters.COLUMNS, 'attributes')
_MAX_LINE = 2**20  # bytes


class JsonLines:
  """A source of the files that the JSONL files of a folder name.

  If there are files of a training split (`*train*.jsonl`), only those are
  read; the others are counted in the notes. A line that cannot be used is a
  broken record.
  """

  layout = 'jsonl'

  def __init__(self, folder: str | os.PathLike):
    """Find the JSONL files and read their first lines.

    Raises:
      UserError: the folder or the files are missing.
    """
    self.folder = pathlib.Path(folder)
    tables = sorted(self.folder.glob('*.jsonl'))
    if not tables:
      raise UserError(
        f'{self.folder} holds no JSONL file; this layout is a JSONL file '
        '(metadata.jsonl) with a file_name and a text in each line'
      )
    self._tables = [path for path in tables if 'train' in path.name] or tables
    self._ignored = len(tables) - len(self._tables)
    self.columns = frozenset.intersection(*map(_columns, self._tables))
    self.reader = files.FileReader(self.folder)

  def __iter__(self) -> Iterator[schema.Record]:
    """Yield a record of every line, in the order of the files."""
    for path in self._tables:
      try:
        with open(path, 'rb') as file:
          lines = iter(functools.partial(file.readline, _MAX_LINE), b'')
          for number, line in enumerate(lines, 1):
            if line.strip():
              yield self._record(line, f'{path.name}:{number}')
      except OSError as error:
        # The number of lines is unknown, so the file counts as one record.
        yield _broken(path.name, 'unreadable_table', f'{path}: {error}')

  def _record(self, line: bytes, place: str) -> schema.Record:
    try:
      values = json.loads(line)
      name = next(values[key] for key in _FILES if key in values)
    except (ValueError, TypeError, RecursionError) as error:
      return _broken(place, 'malformed_row', f'{place}: {error}')
    except StopIteration:
      return _broken(place, 'missing_column', f'{place}: no file_name')
    found = (values[key] for key in _CAPTIONS if key in values)
    caption = captions.read(next(found, None))
    kind = shard_media.kind_of(name) if isinstance(name, str) else ''
    if not kind:
      return _broken(place, 'unknown_extension', f'{place}: {name!r}')
    return schema.Record(
      key=name,
      kind=kind,
      caption=caption.text,
      path=name,
      # A score that only this line lacks is a missing one.
      columns={
        key: values.get(key)
        for key in _USED
        if key in values or key in self.columns
      },
      fault=caption.fault,
      detail=place if caption.fault else '',
    )

  def spec(self) -> dict[str, Any]:
    """Return the layout and the folder."""
    return {'layout': self.layout, 'folder': str(self.folder.resolve())}

  def notes(self) -> dict[str, int]:
    """Return the number of JSONL files that are not for training."""
    return {'jsonl_not_train': self._ignored} if self._ignored else {}


def _columns(path: pathlib.Path) -> frozenset[str]:
  """Return the keys of the first line."""
  try:
    with open(path, 'rb') as file:
      return frozenset(json.loads(file.readline(_MAX_LINE)))
  except (OSError, ValueError, TypeError, RecursionError):
    return frozenset()


def _broken(key: str, fault: str, detail: str) -> schema.Record:
  return schema.Record(
    key=key, kind=schema.CLIP, caption='', fault=fault, detail=detail
  )
