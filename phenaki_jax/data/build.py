"""Build a manifest: one pass over all sources, all of it or nothing.

Every record is looked at once and decoded fully: it is kept, left out by a
filter, or quarantined as broken, and counted with the reason. The manifest
takes the place of an older one only when it is whole, so an interrupted build
leaves what was there before.
"""

import collections
import concurrent.futures
import dataclasses
import io
import json
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import pyarrow
import pyarrow.parquet

from phenaki_jax import progress
from phenaki_jax.data import filters as filters_lib
from phenaki_jax.data import manifest, report, schema
from phenaki_jax.data.sources import base
from phenaki_jax.errors import UserError
from phenaki_jax.files.atomic import recover, staged_folder
from phenaki_jax.files.digests import file_digest

OpenSource: TypeAlias = Callable[[pathlib.Path], base.Source]
"""Opens a source; is handed the folder for indices that fit nowhere else."""

_AHEAD = 16  # records examined ahead, per worker
_ROWS_PER_WRITE = 4096


def build(
  openers: Sequence[OpenSource],
  out: str | os.PathLike,
  *,
  filters: filters_lib.FilterConfig | None = None,
  max_broken_share: float = 0.2,
  workers: int = 2,
) -> list[report.Account]:
  """Build a manifest in the folder `out`.

  Args:
    openers: open the sources, in order.
    out: folder of the manifest; an older manifest there is replaced.
    filters: what is kept.
    max_broken_share: a source with a larger share of broken records is
      refused.
    workers: threads that decode.

  Returns:
    The account of each source.

  Raises:
    UserError: there is no source, a source lacks a score, keeps no record or
      has too many broken ones; or `out` holds something else.
  """
  filters = filters or filters_lib.FilterConfig()
  out = pathlib.Path(out).absolute()
  if not openers:
    raise UserError('there is no source; name at least one to build from')
  if not 0 <= max_broken_share <= 1:
    raise UserError(
      f'max_broken_share is {max_broken_share}; it must lie in 0..1'
    )
  recover(out)
  _check_target(out)
  with staged_folder(out) as staged:
    folder = pathlib.Path(staged)
    indices = folder / manifest.INDICES
    sources = [open_source(indices) for open_source in openers]
    for source in sources:
      filters_lib.check_columns(source, filters)
    builder = _Builder(folder, filters, workers=workers)
    return builder.run(sources, max_broken_share=max_broken_share)


class _Builder:
  """Write the files of one manifest."""

  def __init__(
    self,
    folder: pathlib.Path,
    filters: filters_lib.FilterConfig,
    *,
    workers: int,
  ):
    self._folder = folder
    self._filters = filters
    self._workers = max(1, workers)
    self._seen: set[str] = set()

  def run(
    self, sources: Sequence[base.Source], *, max_broken_share: float
  ) -> list[report.Account]:
    """Examine the sources and write everything."""
    path = self._folder / manifest.RECORDS
    accounts = []
    with (
      open(self._folder / manifest.DROPPED, 'w') as dropped,
      open(self._folder / manifest.QUARANTINE, 'w') as quarantine,
      pyarrow.parquet.ParquetWriter(path, manifest.COLUMNS) as writer,
    ):
      for number, source in enumerate(sources):
        account = self._add(source, number, writer, dropped, quarantine)
        _refuse(account, max_broken_share)
        accounts.append(account)
    table = pyarrow.parquet.ParquetFile(path).read()
    header = {
      'version': manifest.VERSION,
      'hash': manifest.rows_hash(
        row for batch in table.to_batches() for row in batch.to_pylist()
      ),
      'records_sha256': file_digest(path),
      'clips': sum(account.clips for account in accounts),
      'images': sum(account.images for account in accounts),
      'sources': [source.spec() for source in sources],
      'filters': dataclasses.asdict(self._filters),
    }
    content = {
      'hash': header['hash'],
      'records': sum(account.records for account in accounts),
      'kept': len(table),
      'filters': header['filters'],
      'sources': [account.to_dict() for account in accounts],
    }
    _write_json(self._folder / manifest.REPORT, content)
    _write_json(self._folder / manifest.HEADER, header)
    return accounts

  def _add(
    self,
    source: base.Source,
    number: int,
    writer: Any,
    dropped: io.TextIOBase,
    quarantine: io.TextIOBase,
  ) -> report.Account:
    """Examine one source; write its rows and what was left out of it."""
    tally = report.Tally()
    rows = []
    bar = progress.bar(
      self._examined(source),
      total=len(source),
      unit='records',
      desc=f'{source.layout} {number + 1}',
    )
    for record, outcome in bar:
      line = {'source': number, 'key': record.key}
      if isinstance(outcome, schema.DecodeError):
        tally.broken[outcome.reason] += 1
        line |= {'path': record.path, 'reason': outcome.reason}
        _write_line(quarantine, line | {'detail': outcome.detail})
        continue
      reason = outcome if isinstance(outcome, str) else self._repeat(outcome)
      if reason or isinstance(outcome, str):
        tally.filtered[reason] += 1
        _write_line(dropped, line | {'reason': reason})
        continue
      tally.kept[record.kind] += 1
      rows.append(_row(number, record, outcome))
      if len(rows) == _ROWS_PER_WRITE:
        writer.write_table(_table(rows))
        rows = []
    if rows:
      writer.write_table(_table(rows))
    return tally.account(
      layout=source.layout,
      folder=str(source.spec().get('folder', '')),
      records=len(source),
      notes=source.notes(),
    )

  def _repeat(self, facts: schema.Facts) -> str:
    """Return a reason if the content came up before, else remember it."""
    if facts.content_hash in self._seen:
      return 'duplicate_of_earlier'
    self._seen.add(facts.content_hash)
    return ''

  def _examined(
    self, source: base.Source
  ) -> Iterator[tuple[schema.Record, schema.Facts | schema.DecodeError | str]]:
    """Yield each record with its facts, its fault or why it is filtered.

    Threads work ahead, the order stays.
    """
    waiting: collections.deque = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(self._workers) as pool:
      try:
        for index in range(len(source)):
          record = source[index]
          waiting.append((record, pool.submit(self._examine, source, record)))
          if len(waiting) > _AHEAD * self._workers:
            record, future = waiting.popleft()
            yield record, future.result()
        while waiting:
          record, future = waiting.popleft()
          yield record, future.result()
      finally:
        pool.shutdown(wait=True, cancel_futures=True)

  def _examine(
    self, source: base.Source, record: schema.Record
  ) -> schema.Facts | schema.DecodeError | str:
    if record.fault == 'not_downloaded':
      return record.fault  # The layout's own word for it; nothing is broken.
    if record.fault:
      return schema.DecodeError(record.fault)
    reason = filters_lib.metadata_fault(record, self._filters)
    if reason:
      return reason
    try:
      facts = source.reader.examine(record)
    except schema.DecodeError as error:
      return error
    return filters_lib.content_fault(facts, record.kind, self._filters) or facts


def _row(
  number: int, record: schema.Record, facts: schema.Facts
) -> dict[str, Any]:
  return {
    'source': number,
    'kind': record.kind,
    'key': record.key,
    'caption': record.caption.strip(),
    'path': record.path,
    'offset': record.offset,
    'size': record.size,
    **dataclasses.asdict(facts),
  }


def _table(rows: list[dict[str, Any]]) -> pyarrow.Table:
  return pyarrow.Table.from_pylist(rows, schema=manifest.COLUMNS)


def _refuse(account: report.Account, max_broken_share: float) -> None:
  name = f'{account.layout} {account.folder}'.rstrip()
  counts = account.filtered | account.broken
  said = ', '.join(f'{count} {reason}' for reason, count in counts.items())
  if account.broken_share > max_broken_share:
    broken = sum(account.broken.values())
    raise UserError(
      f'{broken} of the {account.records} records of {name} are broken '
      f'({said}); at most a share of {max_broken_share:g} is accepted '
      '(--max-broken)'
    )
  if not account.kept:
    raise UserError(
      f'none of the {account.records} records of {name} is left to train on '
      f'({said or "it lists none"}); mend the source or loosen the filters'
    )


def _check_target(out: pathlib.Path) -> None:
  """Refuse to replace anything but a manifest."""
  if not out.exists():
    return
  if not out.is_dir():
    raise UserError(f'{out} is a file; name a folder for the manifest')
  if any(out.iterdir()) and not (out / manifest.HEADER).is_file():
    raise UserError(
      f'{out} holds files but no manifest; name a new or empty folder'
    )


def _write_json(path: pathlib.Path, content: dict[str, Any]) -> None:
  path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + '\n')


def _write_line(file: io.TextIOBase, content: dict[str, Any]) -> None:
  file.write(json.dumps(content, ensure_ascii=False) + '\n')
