r"""A folder of clips and images, and JSON Lines about them.

A line of a `*.jsonl` file (usually `metadata.jsonl`) describes one file, as in
the folders that Hugging Face `datasets` reads:

    {"file_name": "clips/0001.mp4", "text": "a man walks", "punsafe": 0.01}

The file may also be called `path`, and the text `caption`. The kind follows
from the extension.
"""

import json
from collections.abc import Iterator

from phenaki_jax.data import captions, filters, schema
from phenaki_jax.data.sources import files, shard_media, tables
from phenaki_jax.data.sources.line_source import (
  MAX_LINE,
  LineSource,
  broken,
)
from phenaki_jax.files.paths import DataPath
from phenaki_jax.files.remote import open_stream

_FILES = ('file_name', 'path')
_CAPTIONS = ('text', 'caption')
_USED = (*filters.COLUMNS, 'attributes')


class JsonLines(LineSource):
  """A source of the files that the JSONL files of a folder name.

  A line that cannot be used is a broken record; see also `LineSource`.
  """

  layout = 'jsonl'
  meaning = (
    'this layout is a JSONL file (metadata.jsonl) with a file_name and a text '
    'in each line'
  )

  def __init__(self, folder: str | DataPath):
    """Find the JSONL files and read their first lines.

    Raises:
      UserError: the folder or the files are missing, or a remote one cannot
        be read.
    """
    super().__init__(folder)
    self.columns = frozenset.intersection(*map(_columns, self.tables))
    self.reader = files.FileReader(self.folder)

  def records(self, line: bytes, place: str) -> Iterator[schema.Record]:
    """Yield the record of a line."""
    yield self._record(line, place)

  def _record(self, line: bytes, place: str) -> schema.Record:
    try:
      values = json.loads(line)
      name = next(values[key] for key in _FILES if key in values)
    except (ValueError, TypeError, RecursionError) as error:
      return broken(place, 'malformed_row', f'{place}: {error}')
    except StopIteration:
      return broken(place, 'missing_column', f'{place}: no file_name')
    found = (values[key] for key in _CAPTIONS if key in values)
    caption = captions.read(next(found, None))
    kind = shard_media.kind_of(name) if isinstance(name, str) else ''
    if not kind:
      return broken(place, 'unknown_extension', f'{place}: {name!r}')
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


def _columns(path: DataPath) -> frozenset[str]:
  """Return the keys of the first line."""
  try:
    with open_stream(path) as file:
      return frozenset(json.loads(file.readline(MAX_LINE)))
  except OSError as error:
    tables.check_cannot_open(path, error)
  except (ValueError, TypeError, RecursionError):
    pass
  return frozenset()
