"""A cache of tokens on disk: the examples of a loader, with tokens for pixels.

A folder holds `cache.json` and ArrayRecord files, one per part of the batch and
per range of steps. Record `i` of a part is example `i` of the loader: its
tokens, its caption, and what the batch tells of its frames. A file is either
complete or absent, so that an interrupted build goes on with the next one.
"""

import dataclasses
import functools
import json
import pathlib
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import grain
import numpy as np
import safetensors.numpy
from array_record.python.array_record_module import ArrayRecordWriter
from etils import epath

from phenaki_jax.errors import NotFoundError, UserError
from phenaki_jax.files.atomic import replace_file, staged_files, sweep
from phenaki_jax.files.digests import digest_json

FORMAT = 1
CACHE_FILE = 'cache.json'
# Steps whose examples are in one file; an interrupted build loses at most the
# work of one file.
STEPS_PER_FILE = 100

_NUMBERS = ('num_frames', 'context_frames')
_COMMAND = '`phenaki encode --tokens`'


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenExample:
  """One example of a cache.

  Attributes:
    tokens: ids [t, h, w] of a clip, [h, w] of an image.
    caption: text that describes it.
    reencoded: as `tokens`, but those of the context are encoded again from
      decoded frames; None in a cache without them.
    num_frames: number of leading frames that are not padding.
    context_frames: number of leading frames of an earlier scene.
  """

  tokens: np.ndarray
  caption: str
  reencoded: np.ndarray | None = None
  num_frames: int = 1
  context_frames: int = 0

  def to_record(self) -> bytes:
    """Return the example as the content of a record."""
    arrays = {
      'tokens': np.ascontiguousarray(self.tokens),
      'caption': np.frombuffer(self.caption.encode(), np.uint8),
      'numbers': np.array([self.num_frames, self.context_frames], np.int32),
    }
    if self.reencoded is not None:
      arrays['reencoded'] = np.ascontiguousarray(self.reencoded)
    return safetensors.numpy.save(arrays)

  @classmethod
  def from_record(cls, record: bytes) -> 'TokenExample':
    """Read what `to_record` returned."""
    arrays = safetensors.numpy.load(record)
    numbers = dict(zip(_NUMBERS, arrays['numbers'].tolist(), strict=True))
    return cls(
      tokens=arrays['tokens'],
      caption=arrays['caption'].tobytes().decode(),
      reencoded=arrays.get('reencoded'),
      **numbers,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class CacheInfo:
  """The content of `cache.json`.

  Attributes:
    settings: all that determines the examples, as JSON values.
    reencoded: whether the clips have `TokenExample.reencoded`.
    grid: token grid of a clip.
    counts: clips and images per step, by part.
    steps: steps whose examples the cache holds.
    is_complete: whether all files are written.
  """

  settings: Mapping[str, Any]
  reencoded: bool
  grid: tuple[int, int, int]
  counts: Mapping[str, int]
  steps: int
  is_complete: bool = False

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
  def read(cls, folder: epath.PathLike) -> 'CacheInfo':
    """Read the file of a folder.

    Raises:
      NotFoundError: the folder is no cache of tokens.
      UserError: the file is damaged, or of another format.
    """
    path = epath.Path(folder) / CACHE_FILE
    if not path.is_file():
      raise NotFoundError(
        f'there is no cache of tokens in {folder}; name the --out of {_COMMAND}'
      )
    try:
      values = json.loads(path.read_bytes())
      found, key = values.pop('format'), values.pop('key')
      if found != FORMAT:
        raise UserError(
          f'{path} has the format {found}, but this version reads {FORMAT}; '
          f'build the cache again with {_COMMAND}'
        )
      info = cls(**{**values, 'grid': tuple(values['grid'])})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
      if isinstance(error, UserError):
        raise
      raise UserError(
        f'{path} is damaged ({error!r}); delete the folder and build the '
        f'cache again with {_COMMAND}'
      ) from error
    if info.key != key:
      raise UserError(
        f'{path} was edited: its settings have the key {info.key}, not {key}; '
        f'build the cache again with {_COMMAND}'
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
      f'the cache of tokens in {folder} is of another tokenizer or other data '
      f'({"; ".join(differing[:3])}{more}); build another one with {_COMMAND}, '
      'or leave data.cache empty to train from pixels'
    )

  def paths(self, folder: epath.PathLike, part: str) -> list[epath.Path]:
    """Return the files of a part, in the order of their records."""
    return [
      epath.Path(folder) / _file_name(part, start, stop)
      for start, stop in self._ranges(part)
    ]

  def _ranges(self, part: str) -> list[tuple[int, int]]:
    """Return the first and the last index (exclusive) of each file."""
    count = self.counts[part]
    return [
      (step * count, min(step + STEPS_PER_FILE, self.steps) * count)
      for step in range(0, self.steps, STEPS_PER_FILE)
    ]


class TokenCache:
  """A complete cache, opened for reading.

  Attributes:
    folder: of the cache.
    info: what it holds.
    sizes: number of its clips and images, by part.
  """

  def __init__(self, folder: epath.PathLike):
    """Open the files.

    Raises:
      NotFoundError: the folder is no cache of tokens.
      UserError: the cache is unfinished or damaged.
    """
    self.folder = epath.Path(folder)
    self.info = CacheInfo.read(folder)
    if not self.info.is_complete:
      raise UserError(
        f'the cache of tokens in {folder} is unfinished; run the command that '
        'builds it again, and it goes on'
      )
    self._records = {
      part: _open(self.info.paths(folder, part)) for part in self.info.counts
    }
    self.sizes = {
      part: count * self.info.steps for part, count in self.info.counts.items()
    }
    for part, size in self.sizes.items():
      found = len(self._records[part])
      if found != size:
        raise UserError(
          f'the cache of tokens in {folder} has {found} {part}, but its '
          f'{CACHE_FILE} says {size}; build it again with {_COMMAND}'
        )

  def examples(self, part: str, *, seed: int) -> 'CachedExamples':
    """Return the infinite dataset of a part.

    Raises:
      UserError: the cache has no such part.
    """
    if part not in self._records:
      raise UserError(
        f'the cache of tokens in {self.folder} has no {part}; set '
        f'data.image_share={int(part == "clips")}, or build it with some'
      )
    return CachedExamples(self._records[part], seed=seed)


class CachedExamples:
  """The examples of a cache again and again.

  The first epoch has the order of the loader whose examples were encoded; each
  later epoch has an order of its own.
  """

  def __init__(
    self, records: grain.sources.ArrayRecordDataSource, *, seed: int
  ):
    self._records = records
    self._seed = seed
    self._lock = threading.Lock()
    self._order = functools.lru_cache(2)(self._shuffled)

  def __getitem__(self, index: int) -> TokenExample:
    """Read example `index`."""
    epoch, place = divmod(index, len(self._records))
    if epoch:
      with self._lock:  # several threads must not shuffle the same epoch
        place = int(self._order(epoch)[place])
    return TokenExample.from_record(self._records[place])

  def _shuffled(self, epoch: int) -> np.ndarray:
    rng = np.random.default_rng((self._seed, epoch))
    return rng.permutation(len(self._records))


class CacheWriter:
  """Writes a cache, file by file."""

  def __init__(self, folder: epath.PathLike, info: CacheInfo):
    """Begin a cache, or go on with an interrupted or a shorter one.

    The caller holds the lock of the folder.

    Raises:
      UserError: the folder holds something else, or more steps.
    """
    self._folder, self._info = pathlib.Path(folder), info
    names = {path.name for path in self._folder.iterdir()} - {'.lock'}
    if CACHE_FILE in names:
      _check_same(self._folder, CacheInfo.read(folder), info)
    elif names:
      raise UserError(f'{folder} holds other files; name a new folder')
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


def _check_same(
  folder: pathlib.Path, found: CacheInfo, wanted: CacheInfo
) -> None:
  """Raise a UserError unless a build may go on in the folder."""
  found.check(folder, wanted.settings)
  if found.steps > wanted.steps:
    raise UserError(
      f'the cache of tokens in {folder} is of {found.steps} steps, more than '
      f'--steps={wanted.steps}; use it as it is, or name another --out'
    )
  for name, option in (
    ('counts', 'data.batch_size and data.image_share'),
    ('reencoded', 'task.reencoded_context'),
  ):
    old, new = getattr(found, name), getattr(wanted, name)
    if old != new:
      raise UserError(
        f'the cache of tokens in {folder} was begun with {name}={old}, not '
        f'{new}; set {option} as then, or name another folder with --out'
      )


def _open(
  paths: Sequence[epath.Path],
) -> grain.sources.ArrayRecordDataSource:
  for path in paths:
    if not path.is_file():
      raise UserError(
        f'{path} of the cache of tokens is missing; run the command that '
        'builds the cache again, and it writes the missing files'
      )
  return grain.sources.ArrayRecordDataSource([str(path) for path in paths])


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
