"""Building of a manifest in one pass over all sources.

Every record is decoded once. It is kept, left out by a filter, or quarantined
as broken, and counted by reason. An older manifest is replaced only by a
complete new one, so an interrupted build leaves it unchanged.
"""

import concurrent.futures
import dataclasses
import io
import json
import os
import pathlib
from collections import Counter, deque
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
"""Opens a source, given the folder for indices of read-only folders."""

_Outcome: TypeAlias = schema.MediaInfo | schema.DecodeError | str
"""What decoding found, why a record is broken, or why it is filtered."""

_AHEAD = 16  # records decoded ahead, per worker
_ROWS_PER_WRITE = 4096


def build(
  openers: Sequence[OpenSource],
  out: str | os.PathLike,
  *,
  filters: filters_lib.FilterConfig | None = None,
  max_broken_share: float = 0.2,
  workers: int = 2,
) -> list[report.SourceReport]:
  """Build a manifest in the folder `out`.

  Args:
    openers: functions that open the sources, in order.
    out: folder of the manifest; an older manifest is replaced.
    filters: limits that a record must meet to be kept.
    max_broken_share: a source with a larger share of broken records, 0 to 1,
      is rejected.
    workers: number of threads that decode.

  Returns:
    The report of each source.

  Raises:
    UserError: there is no source; a source lacks a score, has no record to
      keep or too many broken ones; or `out` holds something else.
  """
  filters = filters or filters_lib.FilterConfig()
  out = pathlib.Path(out).absolute()
  if not openers:
    raise UserError('there is no source to build from; name at least one')
  if not 0 <= max_broken_share <= 1:
    raise UserError(
      f'max_broken_share is {max_broken_share}; it must be in 0..1'
    )
  recover(out)
  _check_target(out)
  with staged_folder(out) as staged:
    folder = pathlib.Path(staged)
    indices = folder / manifest.INDICES
    sources = [open_source(indices) for open_source in openers]
    for source in sources:
      filters_lib.check_columns(source, filters)
    builder = _Builder(
      folder=folder,
      filters=filters,
      workers=max(1, workers),
    )
    return builder.run(sources, max_broken_share=max_broken_share)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Builder:
  """Writes the files of one manifest."""

  folder: pathlib.Path
  filters: filters_lib.FilterConfig
  workers: int
  seen: set[str] = dataclasses.field(default_factory=set)

  def run(
    self, sources: Sequence[base.Source], *, max_broken_share: float
  ) -> list[report.SourceReport]:
    """Decode the records of all sources and write all files."""
    path = self.folder / manifest.RECORDS
    reports = []
    with (
      open(self.folder / manifest.DROPPED, 'w') as dropped,
      open(self.folder / manifest.QUARANTINE, 'w') as quarantine,
      pyarrow.parquet.ParquetWriter(path, manifest.COLUMNS) as writer,
    ):
      for number, source in enumerate(sources):
        found = self._add(source, number, writer, dropped, quarantine)
        _check_report(found, max_broken_share)
        reports.append(found)
    table = pyarrow.parquet.ParquetFile(path).read()
    header = {
      'version': manifest.VERSION,
      'hash': manifest.table_hash(table),
      'records_sha256': file_digest(path),
      'clips': sum(found.clips for found in reports),
      'images': sum(found.images for found in reports),
      'sources': [source.spec() for source in sources],
      'filters': dataclasses.asdict(self.filters),
    }
    content = {
      'hash': header['hash'],
      'records': sum(found.records for found in reports),
      'kept': len(table),
      'filters': header['filters'],
      'sources': [found.to_dict() for found in reports],
    }
    _write_json(self.folder / manifest.REPORT, content)
    _write_json(self.folder / manifest.HEADER, header)
    return reports

  def _add(
    self,
    source: base.Source,
    number: int,
    writer: Any,
    dropped: io.TextIOBase,
    quarantine: io.TextIOBase,
  ) -> report.SourceReport:
    """Decode the records of one source, and write them to the files."""
    kept: Counter[str] = Counter()
    filtered: Counter[str] = Counter()
    broken: Counter[str] = Counter()
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
        broken[outcome.reason] += 1
        line |= {'path': record.path, 'reason': outcome.reason}
        _write_line(quarantine, line | {'detail': outcome.detail})
        continue
      if not isinstance(outcome, str):
        if outcome.content_hash not in self.seen:
          self.seen.add(outcome.content_hash)
          kept[record.kind] += 1
          rows.append(_row(number, record, outcome))
          if len(rows) == _ROWS_PER_WRITE:
            writer.write_table(_table(rows))
            rows = []
          continue
        outcome = 'duplicate_of_earlier'
      filtered[outcome] += 1
      _write_line(dropped, line | {'reason': outcome})
    if rows:
      writer.write_table(_table(rows))
    return report.SourceReport(
      layout=source.layout,
      folder=str(source.spec().get('folder', '')),
      records=len(source),
      clips=kept[schema.CLIP],
      images=kept[schema.IMAGE],
      filtered=dict(sorted(filtered.items())),
      broken=dict(sorted(broken.items())),
      notes=source.notes(),
    )

  def _examined(
    self, source: base.Source
  ) -> Iterator[tuple[schema.Record, _Outcome]]:
    """Yield each record with its outcome, in order; threads decode ahead."""
    waiting: deque = deque()
    with concurrent.futures.ThreadPoolExecutor(self.workers) as pool:
      try:
        for index in range(len(source)):
          record = source[index]
          waiting.append((record, pool.submit(self._examine, source, record)))
          if len(waiting) > _AHEAD * self.workers:
            record, future = waiting.popleft()
            yield record, future.result()
        while waiting:
          record, future = waiting.popleft()
          yield record, future.result()
      finally:
        pool.shutdown(wait=True, cancel_futures=True)

  def _examine(self, source: base.Source, record: schema.Record) -> _Outcome:
    if record.fault == 'not_downloaded':
      return record.fault  # As img2dataset reports it; nothing is broken.
    if record.fault:
      return schema.DecodeError(record.fault)
    reason = filters_lib.metadata_fault(record, self.filters)
    if reason:
      return reason
    try:
      info = source.reader.examine(
        record, max_duration=self.filters.max_duration
      )
    except schema.DecodeError as error:
      return error
    return filters_lib.content_fault(info, record.kind, self.filters) or info


def _row(
  number: int, record: schema.Record, info: schema.MediaInfo
) -> dict[str, Any]:
  return {
    'source': number,
    **{name: getattr(record, name) for name in manifest.RECORD_FIELDS},
    'caption': record.caption.strip(),
    **dataclasses.asdict(info),
  }


def _table(rows: list[dict[str, Any]]) -> pyarrow.Table:
  return pyarrow.Table.from_pylist(rows, schema=manifest.COLUMNS)


def _check_report(found: report.SourceReport, max_broken_share: float) -> None:
  """Check that a source has enough usable records."""
  name = f'{found.layout} {found.folder}'.rstrip()
  counts = found.filtered | found.broken
  reasons = ', '.join(f'{count} {reason}' for reason, count in counts.items())
  if found.broken_share > max_broken_share:
    broken = sum(found.broken.values())
    raise UserError(
      f'{broken} of the {found.records} records of {name} are broken '
      f'({reasons}); at most a share of {max_broken_share:g} is accepted '
      '(--max-broken)'
    )
  if not found.kept:
    raise UserError(
      f'none of the {found.records} records of {name} is left to train on '
      f'({reasons or "it lists none"}); correct the source or loosen the '
      'filters'
    )


def _check_target(out: pathlib.Path) -> None:
  """Check that the target is a manifest or empty."""
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
