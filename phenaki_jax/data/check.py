"""Comparison of a manifest with its data, to find later changes."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

from phenaki_jax import progress
from phenaki_jax.data import isolation, schema
from phenaki_jax.data import manifest as manifest_lib
from phenaki_jax.data.sources import base

_CHUNK = 16  # records of one task
_AHEAD = 4  # tasks that wait, per worker


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
  """A record that differs from the manifest, and the reason."""

  key: str
  reason: str
  detail: str = ''


def find_problems(
  manifest: manifest_lib.Manifest, *, workers: int = 2
) -> Iterator[Problem]:
  """Read every record again, and yield those whose content has changed.

  First the hash of the manifest itself is computed again. Only changed files
  are decoded, in child processes with limits, to tell a broken file from
  another one.

  Args:
    manifest: the manifest.
    workers: number of threads that read.

  Raises:
    ConnectionError: a remote file cannot be read.
  """
  if manifest.recomputed_hash() != manifest.hash:
    yield Problem(key=manifest_lib.RECORDS, reason='changed_manifest')
  bar = progress.bar(total=len(manifest), unit='records', desc='check')
  records = manifest.records()
  isolated: dict[base.Reader, isolation.IsolatedReader] = {
    reader: isolation.IsolatedReader(reader)
    for reader in manifest.readers
    if isinstance(reader, base.PortableReader)
  }
  with contextlib.ExitStack() as stack:
    for one in isolated.values():
      stack.callback(one.close)
    stack.enter_context(bar)
    pool = stack.enter_context(
      concurrent.futures.ThreadPoolExecutor(max(1, workers))
    )
    waiting: collections.deque = collections.deque()
    while chunk := list(itertools.islice(records, _CHUNK)):
      waiting.append(pool.submit(_problems, chunk, isolated))
      if len(waiting) > _AHEAD * workers:
        yield from _finish(waiting, bar)
    while waiting:
      yield from _finish(waiting, bar)


def _finish(waiting: collections.deque, bar: Any) -> list[Problem]:
  """Wait for the oldest chunk and return its problems."""
  size, problems = waiting.popleft().result()
  bar.update(size)
  return problems


def _problems(
  chunk: list[tuple[schema.Record, base.Reader]],
  isolated: dict[base.Reader, isolation.IsolatedReader],
) -> tuple[int, list[Problem]]:
  """Return the number of records and their problems."""
  found = [
    _problem(record, reader, isolated.get(reader)) for record, reader in chunk
  ]
  return len(chunk), [problem for problem in found if problem is not None]


def _problem(
  record: schema.Record,
  reader: base.Reader,
  isolated: isolation.IsolatedReader | None,
) -> Problem | None:
  assert record.info is not None, 'records of a manifest have been decoded'
  # Without the expected hash, `examine` tells a changed file from a broken one.
  bare = dataclasses.replace(record, info=None)
  try:
    if isolated is None:  # Rendered, so there are no bytes to read.
      info = reader.examine(bare)
    else:
      assert isinstance(reader, base.TimedReader)
      try:
        reader.read(record)
        return None
      except schema.DecodeError as error:
        if error.reason != 'changed_file':
          raise
      info = isolated.examine(bare)
  except schema.DecodeError as error:
    return Problem(key=record.key, reason=error.reason, detail=error.detail)
  if info.content_hash != record.info.content_hash:
    return Problem(key=record.key, reason='changed_file', detail=record.path)
  return None
