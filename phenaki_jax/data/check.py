"""Check that a manifest and the data it names are still what they were."""

import concurrent.futures
import dataclasses
import itertools
from collections.abc import Iterator

from phenaki_jax import progress
from phenaki_jax.data import manifest as manifest_lib
from phenaki_jax.data import schema

_CHUNK = 512  # records read ahead at most


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
  """Name a record that is no longer what the manifest says, and why."""

  key: str
  reason: str
  detail: str = ''


def find_problems(
  manifest: manifest_lib.Manifest, *, workers: int = 2
) -> Iterator[Problem]:
  """Read every record again, and yield those whose content has changed.

  The hash of the manifest itself is computed again first.

  Args:
    manifest: to check.
    workers: threads that read.
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
  assert record.facts is not None, 'a manifest holds examined records'
  try:
    # Without the expected facts, so that a change is told from an error.
    bare = dataclasses.replace(record, facts=None)
    facts = manifest.reader(row).examine(bare)
  except schema.DecodeError as error:
    return Problem(key=record.key, reason=error.reason, detail=error.detail)
  if facts.content_hash != record.facts.content_hash:
    return Problem(key=record.key, reason='changed_file', detail=record.path)
  return None
