"""Building of a manifest in one pass over all sources.

Every record is decoded once. It is kept, left out by a filter, or quarantined
as broken, and counted by reason. On a local disk an older manifest is replaced
only by a complete new one, so an interrupted build leaves it unchanged. In a
bucket the header is uploaded last, so that a new folder never has a part of a
manifest; an older one is lost if the upload is interrupted.
"""

import concurrent.futures
import contextlib
import dataclasses
import functools
import io
import itertools
import json
import operator
import pathlib
import shutil
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from phenaki_jax import progress
from phenaki_jax.data import filters as filters_lib
from phenaki_jax.data import isolation, manifest, records, report, schema, seen
from phenaki_jax.data.sources import base
from phenaki_jax.errors import UserError
from phenaki_jax.files.atomic import (
  recover,
  replace_file,
  staged_file,
  staged_folder,
)
from phenaki_jax.files.digests import file_digest
from phenaki_jax.files.paths import DataPath, data_path, writable

OpenSource: TypeAlias = Callable[[pathlib.Path], base.Source]
"""Opens a source, given the folder for indices of read-only folders."""

ScoreUnsafe: TypeAlias = Callable[[np.ndarray], float]
"""Returns the highest `punsafe` score, 0 to 1, of frames of `SCORED` size."""

SCORED = (256, 256)
"""Height and width of the frames whose `punsafe` score is computed."""

_Outcome: TypeAlias = schema.MediaInfo | schema.DecodeError | str
"""Information from decoding, a decoding error, or the reason of a filter."""

_LISTS = (manifest.DROPPED, manifest.QUARANTINE)
_CHUNK = 16  # records of one task
_SCORED_FRAMES = 4  # of a clip, spread evenly
_AHEAD = 4  # tasks that wait, per worker
_QUICK = 0.002  # seconds; shorter tasks run in the caller's thread


def build(
  openers: Sequence[OpenSource],
  out: str | DataPath,
  *,
  filters: filters_lib.FilterConfig | None = None,
  max_broken_share: float = 0.2,
  workers: int = 2,
  score_unsafe: ScoreUnsafe | None = None,
  limits: isolation.Limits | None = None,
) -> list[report.SourceReport]:
  """Build a manifest in the folder `out`.

  Args:
    openers: functions that open the sources, in order.
    out: folder of the manifest; an older manifest is replaced.
    filters: limits that a record must meet to be kept.
    max_broken_share: a source with a larger share of broken records, 0 to 1,
      is rejected.
    workers: number of threads that decode.
    score_unsafe: computes the scores that `filters.score_unsafe` asks for.
    limits: decode files in child processes with these limits; None decodes
      them in this process.

  Returns:
    The report of each source.

  Raises:
    UserError: there is no source; a source lacks a score, has no record to
      keep or too many broken ones, or cannot be read further; or `out` holds
      something else. The lists of the records of a rejected source are kept in
      `<out>.refused`.
  """
  filters = filters or filters_lib.FilterConfig()
  out = data_path(writable(out)).absolute()
  if not openers:
    raise UserError('there is no source to build from; name at least one')
  if not 0 <= max_broken_share <= 1:
    raise UserError(
      f'max_broken_share is {max_broken_share}; it must be in 0..1'
    )
  recover(str(out))
  _check_target(out)
  with staged_folder(str(out), last=manifest.HEADER) as staged:
    folder = pathlib.Path(staged)
    indices = folder / manifest.INDICES
    sources = [open_source(indices) for open_source in openers]
    for source in sources:
      filters_lib.check_columns(source, filters)
    with contextlib.closing(seen.SeenHashes()) as hashes:
      builder = _Builder(
        folder=folder,
        filters=filters,
        workers=max(1, workers),
        seen=hashes,
        score_unsafe=score_unsafe,
        limits=limits,
      )
      try:
        reports = builder.run(sources, max_broken_share=max_broken_share)
      except _RefusedError as error:
        _keep_lists(folder, out)
        raise UserError(
          f'{error}; the records that were left out are listed in '
          f'{_refused(out)}/{manifest.QUARANTINE} and {manifest.DROPPED}'
        ) from None
      except ConnectionError as error:
        raise UserError(
          f'{error}; nothing was written, and an older manifest is kept: run '
          'the same command again when the network works'
        ) from error
  _remove_lists(out)
  return reports


class _RefusedError(UserError):
  """A source that has too few usable records."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Builder:
  """Writes the files of one manifest."""

  folder: DataPath
  filters: filters_lib.FilterConfig
  workers: int
  seen: seen.SeenHashes
  score_unsafe: ScoreUnsafe | None
  limits: isolation.Limits | None

  def run(
    self, sources: Sequence[base.Source], *, max_broken_share: float
  ) -> list[report.SourceReport]:
    """Decode the records of all sources and write all files."""
    path = self.folder / manifest.RECORDS
    reports = []
    with (
      _open_list(self.folder / manifest.DROPPED) as dropped,
      _open_list(self.folder / manifest.QUARANTINE) as quarantine,
      records.RecordWriter(path) as writer,
    ):
      for number, source in enumerate(sources):
        found = self._add(source, number, writer, dropped, quarantine)
        _check_report(found, max_broken_share)
        reports.append(found)
    header = {
      'version': manifest.VERSION,
      'hash': writer.content_hash(),
      'records_sha256': file_digest(path),
      'clips': sum(found.clips for found in reports),
      'images': sum(found.images for found in reports),
      'sources': [source.spec() for source in sources],
      'filters': dataclasses.asdict(self.filters),
    }
    content = {
      'hash': header['hash'],
      'records': sum(found.records for found in reports),
      'kept': writer.count,
      'filters': header['filters'],
      'sources': [found.to_dict() for found in reports],
    }
    write_json(self.folder / manifest.REPORT, content)
    write_json(self.folder / manifest.HEADER, header)
    return reports

  def _add(
    self,
    source: base.Source,
    number: int,
    writer: records.RecordWriter,
    dropped: io.TextIOBase,
    quarantine: io.TextIOBase,
  ) -> report.SourceReport:
    """Decode the records of one source, and write them to the files."""
    kept: Counter[str] = Counter()
    filtered: Counter[str] = Counter()
    broken: Counter[str] = Counter()
    scores: Counter[str] = Counter()
    bar = progress.bar(
      self._examined(source),
      total=operator.length_hint(source) or None,
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
        # Scenes of a film have the hash of its file.
        span = f'{record.start_frame:08x}{record.end_frame:08x}'
        if self.seen.add(outcome.content_hash + span):
          kept[record.kind] += 1
          if outcome.width:  # Rendered examples have no scores.
            scores.update(filters_lib.score_notes(record, self.filters))
          writer.add(number, record, outcome)
          continue
        outcome = 'duplicate_of_earlier'
      filtered[outcome] += 1
      _write_line(dropped, line | {'reason': outcome})
    return report.SourceReport(
      layout=source.layout,
      folder=str(source.spec().get('folder', '')),
      records=kept.total() + filtered.total() + broken.total(),
      clips=kept[schema.CLIP],
      images=kept[schema.IMAGE],
      filtered=dict(sorted(filtered.items())),
      broken=dict(sorted(broken.items())),
      notes={**source.notes(), **scores},
    )

  def _examined(
    self, source: base.Source
  ) -> Iterator[tuple[schema.Record, _Outcome]]:
    """Yield each record with its outcome, in order; threads decode ahead.

    Records that need no decoding, such as missing files, are processed faster
    than they could be handed to another thread.
    """
    waiting: deque = deque()
    stream = iter(source)
    is_quick = False
    examine = source.reader.examine
    isolated = None
    if self.limits and isinstance(source.reader, base.PortableReader):
      isolated = isolation.IsolatedReader(source.reader, self.limits)
      examine = isolated.examine
    with concurrent.futures.ThreadPoolExecutor(self.workers) as pool:
      try:
        while chunk := list(itertools.islice(stream, _CHUNK)):
          outcomes = [self._decide(record) for record in chunk]
          work = functools.partial(
            self._decode, source, examine, chunk, outcomes
          )
          task = None
          if None in outcomes:
            if is_quick:
              start = time.perf_counter()
              work()
              is_quick = time.perf_counter() - start < _QUICK
            else:
              task = pool.submit(work)
          waiting.append((chunk, outcomes, task))
          if len(waiting) > _AHEAD * self.workers:
            chunk, outcomes, task = waiting.popleft()
            if task is not None:
              is_quick = task.result() < _QUICK
            yield from zip(chunk, outcomes, strict=True)
        for chunk, outcomes, task in waiting:
          if task is not None:
            task.result()
          yield from zip(chunk, outcomes, strict=True)
      finally:
        pool.shutdown(wait=True, cancel_futures=True)
        if isolated:
          isolated.close()

  def _decide(self, record: schema.Record) -> _Outcome | None:
    """Return the outcome that follows from the metadata; None if none does."""
    if record.fault == 'not_downloaded':
      return record.fault  # Reported by img2dataset, and not a broken record.
    if record.fault:
      return schema.DecodeError(record.fault, record.detail)
    return filters_lib.metadata_fault(record, self.filters) or None

  def _decode(
    self,
    source: base.Source,
    examine: Callable[..., schema.MediaInfo],
    chunk: list[schema.Record],
    outcomes: list[_Outcome | None],
  ) -> float:
    """Decode the records that have no outcome yet; return seconds of CPU."""
    start = time.thread_time()
    for i, record in enumerate(chunk):
      if outcomes[i] is None:
        outcomes[i] = self._examine(source, examine, record)
    return time.thread_time() - start

  def _examine(
    self,
    source: base.Source,
    examine: Callable[..., schema.MediaInfo],
    record: schema.Record,
  ) -> _Outcome:
    try:
      info = examine(record, max_duration=self.filters.max_duration)
    except schema.DecodeError as error:
      return error
    except ConnectionError:
      raise  # It says nothing about the record.
    except Exception as error:
      # One undecodable file must not stop the build.
      detail = f'{type(error).__name__}: {error}'
      return schema.DecodeError('decoder_failed', detail)
    own = record.own_info(info)
    fault: str | schema.DecodeError = filters_lib.content_fault(
      own, record.kind, self.filters
    )
    if not fault and info.width:  # Rendered examples are not scored.
      fault = self._unsafe(source, dataclasses.replace(record, info=info))
    return fault or info

  def _unsafe(
    self, source: base.Source, record: schema.Record
  ) -> str | schema.DecodeError:
    """Return why a record without a score is left out; '' if it is not."""
    if not filters_lib.must_score(record, self.filters):
      return ''
    if self.score_unsafe is None:
      raise ValueError('filters.score_unsafe needs score_unsafe')
    assert record.info is not None
    own = record.own_info(record.info)
    count, fps = 1, 1.0
    if record.kind == schema.CLIP:
      count = min(_SCORED_FRAMES, own.num_frames)
      fps = count / own.duration
    request = schema.ExampleRequest(size=SCORED, frames=count, fps=fps)
    try:
      pixels = source.reader.example(record, request).pixels
    except schema.DecodeError as error:
      return error
    frames = pixels if record.kind == schema.CLIP else pixels[None]
    return filters_lib.score_fault(self.score_unsafe(frames), self.filters)


def _refused(out: DataPath) -> DataPath:
  """Return the folder for the lists of a build that was refused."""
  return out.parent / f'{out.name}.refused'


def _keep_lists(folder: DataPath, out: DataPath) -> None:
  """Copy the lists of a refused build beside its target."""
  for name in _LISTS:
    with staged_file(str(_refused(out) / name)) as part:
      shutil.copyfile(folder / name, part)


def _remove_lists(out: DataPath) -> None:
  """Remove the lists of an earlier build, and nothing else."""
  with contextlib.suppress(OSError):
    for name in _LISTS:
      (_refused(out) / name).unlink()
    _refused(out).rmdir()


def _check_report(found: report.SourceReport, max_broken_share: float) -> None:
  """Check that a source has enough usable records."""
  name = f'{found.layout} {found.folder}'.rstrip()
  counts = found.filtered | found.broken | found.notes
  reasons = ', '.join(f'{count} {reason}' for reason, count in counts.items())
  if found.broken_share > max_broken_share:
    broken = sum(found.broken.values())
    raise _RefusedError(
      f'{broken} of the {found.records} records of {name} are broken '
      f'({reasons}); at most a share of {max_broken_share:g} is accepted '
      '(--max-broken)'
    )
  if not found.kept:
    raise _RefusedError(
      f'none of the {found.records} records of {name} is left to train on '
      f'({reasons or "it lists none"}); correct the source or loosen the '
      'filters'
    )


def _check_target(out: DataPath) -> None:
  """Check that the target is a manifest or empty."""
  if not out.exists():
    return
  if not out.is_dir():
    raise UserError(f'{out} is a file; name a folder for the manifest')
  if any(out.iterdir()) and not (out / manifest.HEADER).is_file():
    raise UserError(
      f'{out} holds files but no manifest; name a new or empty folder'
    )


def write_json(path: DataPath, content: dict[str, Any]) -> None:
  """Write readable JSON, replacing the file atomically."""
  text = json.dumps(content, indent=2, ensure_ascii=False) + '\n'
  replace_file(str(path), text.encode())


def _open_list(path: DataPath) -> io.TextIOBase:
  # A path may have bytes that are not UTF-8.
  return open(path, 'w', encoding='utf-8', errors='backslashreplace')


_encode = json.JSONEncoder(ensure_ascii=False).encode


def _write_line(file: io.TextIOBase, content: dict[str, Any]) -> None:
  file.write(_encode(content) + '\n')
