"""Comparison of a manifest with its data, to find later changes."""

import concurrent.futures
import dataclasses
import itertools
from collections.abc import Iterator

from phenaki_jax import progress
from phenaki_jax.data import manifest as manifest_lib
from phenaki_jax.data import schema

_CHUNK = 512  # maximum number of records that are read ahead


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

  First the hash of the manifest itself is computed again.

  Args:
    manifest: the manifest.
    workers: number of threads that read.
  """
  if manifest.recomputed_hash() != manifest.hash:
    yield Problem(key=manifest_lib.RECORDS, reason='changed_manifest')
  bar = progress.bar(total=len(manifest), unit='records', desc='check')
  rows = iter(range(len(manifest)))
  with concurrent.futures.ThreadPoolExecutor(max(1, workers)) as pool, bar:
    while chunk := list(itertools.islice(rows, _CHUNK)):
      for problem in pool.map(lambda row: _problem(manifest, row), chunk):
        bar.update()
        if problem is not None:
          yield problem


def _problem(manifest: manifest_lib.Manifest, row: int) -> Problem | None:
  record = manifest[row]
  assert record.info is not None, 'records of a manifest have been decoded'
  try:
    # Without the expected hash, `examine` tells a changed file from a broken
    # one.
    bare = dataclasses.replace(record, info=None)
    info = manifest.reader(row).examine(bare)
  except schema.DecodeError as error:
    return Problem(key=record.key, reason=error.reason, detail=error.detail)
  if info.content_hash != record.info.content_hash:
    return Problem(key=record.key, reason='changed_file', detail=record.path)
  return None
