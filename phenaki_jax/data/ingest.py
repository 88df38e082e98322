"""Ingestion of a manifest into a set of its own, at training size and rate.

The rows of a manifest are divided into parts of a fixed size. A part becomes
one ArrayRecord file with re-encoded frames, and a list of its rows. Processes
write parts independently; an interrupted run goes on with the missing ones.
Then all lists are joined, near duplicates are left out, and a manifest of the
kept records is written beside the files. The result does not depend on the
number of processes.
"""

import concurrent.futures
import dataclasses
import functools
import hashlib
import io
import json
import math
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from jaxtyping import UInt8
from PIL import Image
from pydantic import Field, PositiveFloat, PositiveInt

from phenaki_jax import progress
from phenaki_jax.config import validated
from phenaki_jax.data import (
  build,
  manifest,
  records,
  report,
  schema,
)
from phenaki_jax.data import near_duplicates as near_lib
from phenaki_jax.data.sources import base, packed
from phenaki_jax.errors import UserError
from phenaki_jax.files.atomic import replace_file, staged_file, sweep
from phenaki_jax.files.digests import file_digest
from phenaki_jax.files.lock import LOCK, run_lock
from phenaki_jax.files.paths import DataPath, data_path, is_remote, writable

Run: TypeAlias = Callable[[list[tuple[Any, ...]]], object]
"""Calls `write_part` with each of some lists of arguments, in any order."""

PLAN = 'ingest.json'
_ROUNDING = 1e-6  # of numbers of frames


@validated
class IngestConfig:
  """How frames are stored.

  Attributes:
    size: height and width, in pixels.
    fps: frames per second of the clips.
    encoding: 'jpeg', or 'png', which loses nothing.
    quality: of JPEG, 1 to 100.
    near_duplicates: bits of 768 in which the hashes of near duplicates differ
      at most (see `near_duplicates`); None keeps them.
    rows_per_file: rows of the manifest in one file.
  """

  size: tuple[PositiveInt, PositiveInt] = (64, 64)
  fps: PositiveFloat = 8.0
  encoding: Literal['jpeg', 'png'] = 'jpeg'
  quality: Annotated[int, Field(ge=1, le=100)] = 95
  near_duplicates: (
    Annotated[int, Field(ge=0, le=near_lib.MAX_DISTANCE)] | None
  ) = None
  rows_per_file: PositiveInt = 512


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Line:
  """A row of a part, as JSON.

  Attributes:
    record: fields of the new record; None if the row is left out.
    info: fields of its info.
    origin: key in the old manifest.
    picture: hash of its pictures, in hexadecimal.
    reason, detail: why it is left out.
    is_broken: whether the row cannot be read any more.
  """

  origin: str
  record: dict[str, Any] | None = None
  info: dict[str, Any] | None = None
  picture: str = ''
  reason: str = ''
  detail: str = ''
  is_broken: bool = False


def ingest(
  source: str | DataPath,
  out: str | DataPath,
  config: IngestConfig,
  *,
  workers: int = 1,
  run: Run | None = None,
) -> report.SourceReport:
  """Write a set of its own from a manifest.

  Args:
    source: folder of the manifest.
    out: new folder, or the folder of an interrupted run.
    config: how frames are stored.
    workers: number of processes of this machine.
    run: writes the parts in another way, perhaps on other machines.

  Returns:
    The account of all rows.

  Raises:
    UserError: the manifest cannot be read or is rendered, the folder holds
      something else, another process writes to it, or nothing is left to keep.
  """
  source = data_path(source).absolute()
  out = data_path(writable(out)).absolute()
  content = manifest.Manifest(source)
  for spec, reader in zip(
    content.header['sources'], content.readers, strict=True
  ):
    if not isinstance(reader, base.TimedReader):
      raise UserError(
        f'{source} has records of {spec["layout"]}, which are rendered as they '
        'are read; ingest a manifest without them'
      )
  _check_folder(out)
  with run_lock(str(out), option='--out'):
    _check_plan(out, content, config)
    starts = range(0, len(content), config.rows_per_file)
    _sweep(out, starts)
    missing = [
      (str(source), str(out), config, start)
      for start in starts
      if not _list_of(out, start).is_file()
    ]
    bar = progress.bar(total=len(starts), unit='files', desc='ingest')
    with bar:
      bar.update(len(starts) - len(missing))
      if run is not None:
        run(missing)
      else:
        for _ in _run(missing, workers=workers):
          bar.update(1)
    return _join(out, starts, content, config)


def _check_folder(out: DataPath) -> None:
  """Check that a folder is empty, or that of an interrupted run."""
  if not out.exists() or (out / PLAN).is_file():
    return
  # The lock is what is left of a run that was killed before it began.
  if any(path.name != LOCK for path in out.iterdir()):
    raise UserError(f'{out} holds other files; name a new folder')


def _check_plan(
  out: DataPath, content: manifest.Manifest, config: IngestConfig
) -> None:
  """Begin a set, or check that it is the one that was interrupted."""
  fields = dataclasses.asdict(config)
  plan = json.loads(json.dumps({'manifest': content.hash, 'config': fields}))
  path = out / PLAN
  if path.is_file():
    try:
      found = json.loads(path.read_bytes())
    except ValueError as error:
      raise UserError(f'{path} is damaged; name a new folder') from error
    if found != plan:
      raise UserError(
        f'{out} was begun from another manifest or with other options; use '
        'those, or name a new folder'
      )
  else:
    text = json.dumps(plan, indent=1, sort_keys=True) + '\n'
    replace_file(str(path), text.encode())


def _sweep(out: DataPath, starts: Iterable[int]) -> None:
  """Delete what killed processes left of the files of the set."""
  if is_remote(out):
    return
  planned = {
    *(
      place(out, start).name
      for start in starts
      for place in (_file_of, _list_of)
    ),
    *(manifest.RECORDS, manifest.DROPPED, manifest.QUARANTINE),
    *(manifest.REPORT, manifest.HEADER, PLAN),
  }
  # One pass over the folder, which may have many files.
  left = {
    path.name[1:].rpartition('.part-')[0] for path in out.glob('.*.part-*')
  }
  for name in left & planned:
    sweep(out / name)


def _run(tasks: list[tuple], *, workers: int) -> Iterator[None]:
  if workers <= 1 or len(tasks) <= 1:
    for task in tasks:
      write_part(*task)
      yield
    return
  context = multiprocessing.get_context('spawn')
  with concurrent.futures.ProcessPoolExecutor(
    min(workers, len(tasks)), mp_context=context
  ) as pool:
    waiting = [pool.submit(write_part, *task) for task in tasks]
    try:
      for one in concurrent.futures.as_completed(waiting):
        one.result()
        yield
    except concurrent.futures.process.BrokenProcessPool as error:
      raise UserError(
        'a process was ended, perhaps for lack of memory; run the same command '
        'again with fewer --workers, and it goes on'
      ) from error
    finally:
      pool.shutdown(cancel_futures=True)


@functools.lru_cache(1)
def _opened(source: str) -> manifest.Manifest:
  return manifest.Manifest(source)


def write_part(source: str, out: str, config: IngestConfig, start: int) -> None:
  """Write the file and the list of the rows from `start` on."""
  content = _opened(source)
  folder = data_path(out)
  lines: list[_Line] = []
  numbers: dict[str, int] = {}  # record in the file, by hash of the origin
  pictures: dict[str, str] = {}
  infos: dict[str, schema.MediaInfo] = {}
  name = _file_of(folder, start).name
  with staged_file(str(folder / name)) as path:
    # One record per group, as training reads single ones in any order.
    writer = ArrayRecordWriter(str(path), 'group_size:1,uncompressed')
    for row in range(start, min(start + config.rows_per_file, len(content))):
      record = content[row]
      assert record.info is not None
      origin = record.info.content_hash
      try:
        if origin not in numbers:
          packing = _packed(content.reader(row), record, config)
          writer.write(packing.content)
          numbers[origin] = len(numbers)
          infos[origin], pictures[origin] = packing.info, packing.picture
        lines.append(
          _line(record, infos[origin], pictures[origin], name, numbers[origin])
        )
      except schema.DecodeError as error:
        lines.append(
          _Line(
            origin=record.key,
            reason=error.reason,
            detail=error.detail,
            is_broken=True,
          )
        )
    writer.close()
  text = ''.join(json.dumps(dataclasses.asdict(x)) + '\n' for x in lines)
  replace_file(str(_list_of(folder, start)), text.encode())


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Packing:
  """The content of a record, its description and the hash of its pictures."""

  content: bytes
  info: schema.MediaInfo
  picture: str


def _packed(
  reader: base.Reader, record: schema.Record, config: IngestConfig
) -> _Packing:
  """Encode a whole file again.

  Raises:
    schema.DecodeError: it cannot be read any more.
  """
  assert isinstance(reader, base.TimedReader) and record.info is not None
  timed = reader.timed(record, config.size)
  frames, duration = timed.frames[:1], 0.0
  if record.kind == schema.CLIP:
    number = max(1, math.ceil(record.info.duration * config.fps - _ROUNDING))
    frames = timed.at(np.arange(number) / config.fps)
    duration = number / config.fps
  provenance = {
    'content_hash': record.info.content_hash,
    # Scenes of one film are in one record.
    'key': record.path if record.end_frame else record.key,
    'width': record.info.width,
    'height': record.info.height,
    'num_frames': record.info.num_frames,
    'duration': record.info.duration,
    'fps': config.fps,
  }
  encoded = [_encoded(frame, config) for frame in frames]
  content = packed.pack(encoded, provenance)
  info = schema.MediaInfo(
    content_hash=hashlib.sha256(content).hexdigest(),
    width=config.size[1],
    height=config.size[0],
    num_frames=len(frames),
    duration=duration,
  )
  picture = near_lib.picture_hash(frames).hex()
  return _Packing(content=content, info=info, picture=picture)


def _encoded(frame: UInt8[np.ndarray, 'H W 3'], config: IngestConfig) -> bytes:
  target = io.BytesIO()
  picture = Image.fromarray(frame)
  if config.encoding == 'png':
    picture.save(target, 'PNG')
  else:
    # Without chroma subsampling, which would blur thin coloured outlines.
    picture.save(target, 'JPEG', quality=config.quality, subsampling=0)
  return target.getvalue()


def _line(
  record: schema.Record,
  info: schema.MediaInfo,
  picture: str,
  path: str,
  number: int,
) -> _Line:
  """Return the line of a record whose file is stored."""
  start = end = 0
  if record.end_frame:
    assert record.info is not None
    # Frames of the scene alone: none is shown before it begins.
    scale = info.num_frames / info.duration
    scale *= record.info.duration / record.info.num_frames
    start = math.ceil(record.start_frame * scale - _ROUNDING)
    end = math.floor(record.end_frame * scale + _ROUNDING)
    end = min(end, info.num_frames)
    if end <= start:
      return _Line(origin=record.key, reason='scene_shorter_than_a_frame')
  fields = {
    'key': record.key,
    'kind': record.kind,
    'caption': record.caption,
    'path': path,
    'offset': number,
    'size': 0,
    'start_frame': start,
    'end_frame': end,
  }
  return _Line(
    origin=record.key,
    record=fields,
    info=dataclasses.asdict(info),
    picture=picture,
  )


def _join(
  out: DataPath,
  starts: Iterable[int],
  content: manifest.Manifest,
  config: IngestConfig,
) -> report.SourceReport:
  """Write the manifest of all parts."""
  near = {
    kind: near_lib.NearDuplicates(config.near_duplicates or 0)
    for kind in (schema.CLIP, schema.IMAGE)
  }
  kept: Counter[str] = Counter()
  filtered: Counter[str] = Counter()
  broken: Counter[str] = Counter()
  decided: dict[str, bool] = {}  # whether a file is kept, by its hash
  with (
    staged_file(str(out / manifest.RECORDS)) as table,
    staged_file(str(out / manifest.DROPPED)) as dropped_path,
    staged_file(str(out / manifest.QUARANTINE)) as quarantine_path,
  ):
    with (
      records.RecordWriter(table) as writer,
      open(dropped_path, 'w') as dropped,
      open(quarantine_path, 'w') as quarantine,
    ):
      for line in _lines(out, starts):
        reason = line.reason
        if line.record is not None and config.near_duplicates is not None:
          assert line.info is not None
          digest = line.info['content_hash']
          if digest not in decided:
            picture = bytes.fromhex(line.picture)
            decided[digest] = near[line.record['kind']].add(picture)
          if not decided[digest]:
            reason = 'near_duplicate_of_earlier'
        if not reason:
          assert line.record is not None and line.info is not None
          kept[line.record['kind']] += 1
          info = schema.MediaInfo(**line.info)
          writer.add(0, schema.Record(**line.record), info)
          continue
        entry = {'source': 0, 'key': line.origin, 'reason': reason}
        if line.is_broken:
          broken[reason] += 1
          entry['detail'] = line.detail
          quarantine.write(json.dumps(entry) + '\n')
        else:
          filtered[reason] += 1
          dropped.write(json.dumps(entry) + '\n')
    digest = writer.content_hash()
    records_sha256 = file_digest(table)
  account = report.SourceReport(
    layout='packed',
    folder='',
    records=len(content),
    clips=kept[schema.CLIP],
    images=kept[schema.IMAGE],
    filtered=dict(sorted(filtered.items())),
    broken=dict(sorted(broken.items())),
    notes={},
  )
  if not account.kept:
    raise UserError(f'none of the {len(content)} records is left; see {out}')
  has_films = content.has_films
  header = {
    'version': manifest.VERSION,
    'hash': digest,
    'records_sha256': records_sha256,
    'clips': account.clips,
    'images': account.images,
    'sources': [{'layout': 'packed', 'has_films': has_films}],
    'ingested': {
      'manifest': content.hash,
      'config': dataclasses.asdict(config),
      'sources': content.header['sources'],
      'filters': content.header.get('filters'),
    },
  }
  full = {
    'hash': digest,
    'records': account.records,
    'kept': account.kept,
    'sources': [account.to_dict()],
  }
  build.write_json(out / manifest.REPORT, full)
  build.write_json(out / manifest.HEADER, header)
  return account


def _lines(out: DataPath, starts: Iterable[int]) -> Iterator[_Line]:
  for start in starts:
    with _list_of(out, start).open() as file:
      for text in file:
        yield _Line(**json.loads(text))


def _file_of(out: DataPath, start: int) -> DataPath:
  return out / f'part-{start:010d}.array_record'


def _list_of(out: DataPath, start: int) -> DataPath:
  return out / f'part-{start:010d}.jsonl'
