"""Caches of what networks compute from data: records in ArrayRecord files.

A folder holds `cache.json` and ArrayRecord files, one per part of a batch and
per range of steps. A file is either complete or absent, so that an interrupted
build goes on with the next one.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import grain
from array_record.python.array_record_module import ArrayRecordWriter
from etils import epath

from phenaki_jax.errors import NotFoundError, UserError
from phenaki_jax.files.atomic import replace_file, staged_files, sweep
from phenaki_jax.files.digests import digest_json
from phenaki_jax.files.paths import DataPath, data_path
from phenaki_jax.files.remote import local_copy

FORMAT = 1
CACHE_FILE = 'cache.json'
# Steps whose records are in one file; an interrupted build loses at most the
# work of one file.
STEPS_PER_FILE = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class CacheInfo:
  """The content of `cache.json`.

  Attributes:
    kind: what is cached: 'tokens' or 'text'.
    settings: all that determines the records, as JSON values.
    details: how the records are written, as JSON values.
    counts: records of one step, by part.
    steps: steps whose records the cache holds.
    is_complete: whether all files are written.
  """

  kind: str
  settings: Mapping[str, Any]
  details: Mapping[str, Any]
  counts: Mapping[str, int]
  steps: int
  is_complete: bool = False

  @property
  def command(self) -> str:
    """Return the command that builds such a cache."""
    return _command(self.kind)

  @property
  def key(self) -> str:
    """Return the hash of the settings."""
    return digest_json(self.settings)

  def to_json(self) -> bytes:
    """Return the content of the file."""
    fields = dataclasses.asdict(self)
    values = {'format': FORMAT, 'key': self.key, **fields}
    return f'{json.dumps(values, indent=1, sort_keys=True)}\n'.encode()

  @classmethod
  def read(cls, folder: epath.PathLike, kind: str) -> 'CacheInfo':
    """Read the file of a folder.

    Raises:
      NotFoundError: the folder is not a cache.
      UserError: the file is damaged, of another kind or of another format.
    """
    path = data_path(folder) / CACHE_FILE
    if not path.is_file():
      raise NotFoundError(
        f'there is no cache in {folder}; name the --out of {_command(kind)}'
      )
    try:
      values = json.loads(path.read_bytes())
      found, key = values.pop('format'), values.pop('key')
      if found != FORMAT:
        raise UserError(
          f'{path} has the format {found}, but this version reads {FORMAT}; '
          f'build the cache again with {_command(kind)}'
        )
      info = cls(**values)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
      if isinstance(error, UserError):
        raise
      raise UserError(
        f'{path} is damaged ({error!r}); delete the folder and build the '
        f'cache again with {_command(kind)}'
      ) from error
    if info.kind != kind:
      raise UserError(
        f'{folder} is a cache of {info.kind}; name one of {kind}, the --out of '
        f'{_command(kind)}'
      )
    if info.key != key:
      raise UserError(
        f'{path} was edited: its settings have the key {info.key}, not {key}; '
        f'build the cache again with {_command(kind)}'
      )
    return info

  def check(self, folder: epath.PathLike, settings: Mapping[str, Any]) -> None:
    """Raise a UserError if the cache was built with other settings."""
    if digest_json(settings) == self.key:
      return
    old, new = _flat(self.settings), _flat(settings)
    differing = [
      f'{name} is {old.get(name, "absent")!r} there and '
      f'{new.get(name, "absent")!r} here'
      for name in sorted(old.keys() | new.keys())
      if old.get(name) != new.get(name)
    ]
    more = f', and {len(differing) - 3} more' if len(differing) > 3 else ''
    raise UserError(
      f'the cache of {self.kind} in {folder} was built with other settings '
      f'({"; ".join(differing[:3])}{more}); build another one with '
      f'{self.command}'
    )

  @property
  def sizes(self) -> dict[str, int]:
    """Return the number of records of each part."""
    return {part: count * self.steps for part, count in self.counts.items()}

  def paths(self, folder: epath.PathLike, part: str) -> list[DataPath]:
    """Return the files of a part, in the order of their records."""
    return [
      data_path(folder) / _file_name(part, start, stop)
      for start, stop in self._ranges(part)
    ]

  def _ranges(self, part: str) -> list[tuple[int, int]]:
    """Return the first and the last index (exclusive) of each file."""
    count = self.counts[part]
    return [
      (step * count, min(step + STEPS_PER_FILE, self.steps) * count)
      for step in range(0, self.steps, STEPS_PER_FILE)
    ]


class CacheWriter:
  """Writes a cache, file by file."""

  def __init__(self, folder: epath.PathLike, info: CacheInfo):
    """Begin a cache, or go on with an interrupted or a shorter one.

    The caller holds the lock of the folder.

    Raises:
      UserError: the folder holds something else, or more steps.
    """
    self._folder, self._info = epath.Path(folder), info
    # The lock and the unfinished files of a killed build are hidden files.
    names = {path.name for path in self._folder.glob('[!.]*')}
    if CACHE_FILE in names:
      _check_same(self._folder, CacheInfo.read(folder, info.kind), info)
    elif names:
      raise UserError(f'{folder} holds other files; name a new folder')
    sweep(self._folder / CACHE_FILE)
    replace_file(self._folder / CACHE_FILE, info.to_json())
    kept = {path.name for part in info.counts for path in info.paths('', part)}
    for path in self._folder.glob('*.array_record'):
      if path.name not in kept:  # The last file of a cache of fewer steps.
        path.unlink()
      else:
        sweep(path)

  @property
  def missing(self) -> list[tuple[int, int]]:
    """Return the ranges of steps whose files are not written yet."""
    lists = zip(
      *(self._info.paths(self._folder, part) for part in self._info.counts),
      strict=True,
    )
    steps = range(0, self._info.steps, STEPS_PER_FILE)
    return [
      (step, min(step + STEPS_PER_FILE, self._info.steps))
      for step, paths in zip(steps, lists, strict=True)
      if not all(path.is_file() for path in paths)
    ]

  def write(self, start: int, examples: Mapping[str, list[bytes]]) -> None:
    """Write the records of the range of steps that begins with `start`."""
    number = start // STEPS_PER_FILE
    paths = [self._info.paths(self._folder, part)[number] for part in examples]
    with staged_files(*paths) as folder:
      for path, records in zip(paths, examples.values(), strict=True):
        # One record per group, as training reads single ones in any order.
        writer = ArrayRecordWriter(str(folder / path.name), 'group_size:1')
        for record in records:
          writer.write(record)
        writer.close()

  def finish(self) -> None:
    """Mark the cache as complete."""
    info = dataclasses.replace(self._info, is_complete=True)
    replace_file(self._folder / CACHE_FILE, info.to_json())


def open_records(
  folder: epath.PathLike, info: CacheInfo, part: str
) -> grain.sources.ArrayRecordDataSource:
  """Open the records of a part of a complete cache.

  Raises:
    UserError: the cache is unfinished, or records are missing.
  """
  if not info.is_complete:
    raise UserError(
      f'the cache of {info.kind} in {folder} is unfinished; run the command '
      'that builds it again, and it goes on'
    )
  paths = info.paths(folder, part)
  for path in paths:
    if not path.is_file():
      raise UserError(
        f'{path} of the cache of {info.kind} is missing; run the command that '
        'builds the cache again, and it writes the missing files'
      )
  records = grain.sources.ArrayRecordDataSource(
    [local_copy(path) for path in paths]
  )
  if len(records) != info.sizes[part]:
    raise UserError(
      f'the cache of {info.kind} in {folder} has {len(records)} {part}, but '
      f'its {CACHE_FILE} says {info.sizes[part]}; delete it and build it again '
      f'with {info.command}'
    )
  return records


def _check_same(
  folder: epath.Path, found: CacheInfo, wanted: CacheInfo
) -> None:
  """Raise a UserError unless a build may go on in the folder."""
  found.check(folder, wanted.settings)
  if found.steps > wanted.steps:
    what_to_do = (
      'use it as it is'
      if found.is_complete
      else 'it is unfinished, so go on with the earlier number'
    )
    raise UserError(
      f'the cache of {found.kind} in {folder} is of {found.steps} steps, more '
      f'than {wanted.steps}; {what_to_do}, or name another --out'
    )
  for name in ('counts', 'details'):
    old, new = getattr(found, name), getattr(wanted, name)
    if old != new:
      raise UserError(
        f'the cache of {found.kind} in {folder} was begun with {name}={old}, '
        f'not {new}; use the config of then, or name another folder with --out'
      )


def _command(kind: str) -> str:
  return f'`phenaki encode --{kind}`'


def _file_name(part: str, start: int, stop: int) -> str:
  return f'{part}-{start:010d}-{stop:010d}.array_record'


def _flat(values: Any, prefix: str = '') -> dict[str, Any]:
  """Return the leaves of nested dicts and lists by their dotted names."""
  if isinstance(values, Mapping):
    entries = list(values.items())
  elif isinstance(values, list | tuple):
    entries = list(enumerate(values))
  else:
    return {prefix.rstrip('.'): values}
  return {
    name: leaf
    for key, value in entries
    for name, leaf in _flat(value, f'{prefix}{key}.').items()
  }
