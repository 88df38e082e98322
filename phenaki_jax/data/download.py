"""Download of the files that a table of the web names, into tar shards.

The table is parquet, as of LAION, or CSV, as of WebVid. Each shard of rows
becomes `00000.tar` with the files and captions and `00000.parquet` with a row
for every row of the table, the layout of img2dataset: rows whose file was not
downloaded are there with the reason. A shard is complete or absent, so that an
interrupted download goes on with the next one.
"""

import collections
import concurrent.futures
import dataclasses
import io
import itertools
import json
import tarfile
import threading
import time
from collections.abc import Iterator
from typing import Any

import pyarrow
import pyarrow.parquet
from etils import epath
from pydantic import PositiveFloat, PositiveInt

from phenaki_jax import progress
from phenaki_jax.config import validated
from phenaki_jax.data import filters, public_fetch
from phenaki_jax.data.sources import csv_rows, img2dataset
from phenaki_jax.errors import UserError
from phenaki_jax.files.atomic import replace_file, staged_files
from phenaki_jax.files.digests import file_digest
from phenaki_jax.files.lock import LOCK, run_lock
from phenaki_jax.files.paths import DataPath, data_path, writable
from phenaki_jax.files.remote import open_stream

PLAN = 'download.json'
REPORT = 'report.json'
_URLS = ('url', 'URL', 'contentUrl')
_CAPTIONS = ('caption', 'TEXT', 'text', 'name')
_AHEAD = 4  # downloads that wait, per worker


@validated
class DownloadConfig:
  """How files are downloaded.

  Attributes:
    rows_per_shard: rows of the table in one shard.
    max_bytes: of a file.
    timeout: seconds for a file.
    rate: files per second, of all workers together; those of their redirects
      are not counted.
    workers: files that are downloaded at a time. Four times as many may wait in
      memory.
  """

  rows_per_shard: PositiveInt = 1000
  max_bytes: PositiveInt = 2**26
  timeout: PositiveFloat = 60.0
  rate: PositiveFloat = 10.0
  workers: PositiveInt = 8


def download(
  table: epath.PathLike,
  out: epath.PathLike,
  config: DownloadConfig,
  *,
  limits: public_fetch.FetchLimits | None = None,
) -> dict[str, int]:
  """Download the files of a table, and return the account.

  Args:
    table: a `.parquet` or `.csv` file with a URL and a caption in each row.
    out: new folder, or the folder of an interrupted download.
    config: how files are downloaded.
    limits: of one download; for tests, None takes those of the config.

  Returns:
    Numbers of rows: 'records', 'success', and the others by reason.

  Raises:
    UserError: the table cannot be read or lacks a column, or the folder holds
      something else.
  """
  table, out = data_path(table), data_path(writable(out))
  limits = limits or public_fetch.FetchLimits(
    max_bytes=config.max_bytes, seconds=config.timeout
  )
  rows = _rows(table)
  if out.exists() and not (out / PLAN).is_file():
    if any(path.name != LOCK for path in out.iterdir()):
      raise UserError(f'{out} holds other files; name a new folder')
  with run_lock(str(out), option='--out'):
    _check_plan(out, table, config)
    pace = _Pace(config.rate)
    bar = progress.bar(total=None, unit='files', desc='download')
    with bar, concurrent.futures.ThreadPoolExecutor(config.workers) as pool:
      counts: collections.Counter[str] = collections.Counter()
      for number in itertools.count():
        shard = list(itertools.islice(rows, config.rows_per_shard))
        if not shard:
          break
        name = f'{number:05d}'
        if not (out / f'{name}.parquet').is_file():
          results = _fetched(shard, pool, config, limits, pace)
          try:
            _write(out, name, shard, results, bar)
          except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        counts.update(_outcomes(out / f'{name}.parquet'))
  account = {'records': counts.total(), **dict(sorted(counts.items()))}
  replace_file(
    str(out / REPORT), (json.dumps(account, indent=1) + '\n').encode()
  )
  return account


def _check_plan(out: DataPath, table: DataPath, config: DownloadConfig) -> None:
  """Begin a download, or check that it is the one that was interrupted."""
  plan = {
    'table_sha256': file_digest(table),
    'rows_per_shard': config.rows_per_shard,
  }
  path = out / PLAN
  if not path.is_file():
    replace_file(str(path), (json.dumps(plan, indent=1) + '\n').encode())
  elif json.loads(path.read_bytes()) != plan:
    raise UserError(
      f'{out} was begun from another table or with other rows per shard; use '
      'those, or name a new folder'
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Row:
  """A row of the table; `fault` says why it cannot be used."""

  url: str = ''
  caption: str = ''
  scores: dict[str, Any] = dataclasses.field(default_factory=dict)
  fault: str = ''


def _rows(table: DataPath) -> Iterator[_Row]:
  """Return the rows of a table, which are read as they are needed.

  Raises:
    UserError: it cannot be read, or lacks a column.
  """
  try:
    if table.suffix == '.csv':
      names = list(csv_rows.read_header(str(table)))
    elif table.suffix == '.parquet':
      with open_stream(table) as file:
        names = pyarrow.parquet.read_schema(file).names
    else:
      raise UserError(f'{table} must end in .parquet or .csv')
  except (OSError, pyarrow.ArrowException) as error:
    raise UserError(f'{table} cannot be read: {error}') from error
  found = [
    next((name for name in wanted if name in names), '')
    for wanted in (_URLS, _CAPTIONS)
  ]
  if not all(found):
    raise UserError(
      f'{table} has the columns {", ".join(names)}; a URL '
      f'({", ".join(_URLS)}) and a caption ({", ".join(_CAPTIONS)}) are needed'
    )
  return map(lambda values: _row(values, *found), _values(table, found[0]))


def _values(table: DataPath, key: str) -> Iterator[dict[str, Any]]:
  """Yield the values of every row; of a malformed one, none."""
  try:
    if table.suffix == '.csv':
      for row in csv_rows.read_rows(str(table), key=key):
        yield row.values
      return
    with (
      open_stream(table) as file,
      pyarrow.parquet.ParquetFile(file) as opened,
    ):
      wanted = {*_URLS, *_CAPTIONS, *filters.COLUMNS}
      names = [name for name in opened.schema_arrow.names if name in wanted]
      for batch in opened.iter_batches(1024, columns=names, use_threads=False):
        columns = map(img2dataset.column_values, batch.columns)
        for values in zip(*columns, strict=True):
          yield dict(zip(names, values, strict=True))
  except (OSError, pyarrow.ArrowException) as error:
    first = str(error).partition('\n')[0]
    raise UserError(
      f'{table} cannot be read further ({first}); fetch it again'
    ) from error


def _row(values: dict[str, Any], url: str, caption: str) -> _Row:
  address, text = values.get(url), values.get(caption)
  if not values:
    return _Row(fault='malformed_row')
  if img2dataset.NOT_UTF8 in (address, text):
    return _Row(fault='not_utf8')
  if not isinstance(address, str) or not address.strip():
    return _Row(fault='no_url')
  scores = {name: values[name] for name in filters.COLUMNS if name in values}
  words = text if isinstance(text, str) else ''
  return _Row(url=address, caption=words, scores=scores)


class _Pace:
  """Spaces out the downloads of all threads."""

  def __init__(self, rate: float):
    self._distance = 1 / rate
    self._next = time.monotonic()
    self._lock = threading.Lock()

  def wait(self) -> None:
    """Return when the next download may begin."""
    with self._lock:
      now = time.monotonic()
      at = max(now, self._next)
      self._next = at + self._distance
    time.sleep(at - now)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Result:
  """A file and its extension, or why there is none."""

  content: bytes = b''
  extension: str = ''
  fault: str = ''


def _fetched(
  shard: list[_Row],
  pool: concurrent.futures.Executor,
  config: DownloadConfig,
  limits: public_fetch.FetchLimits,
  pace: _Pace,
) -> Iterator[_Result]:
  """Yield the file of each row, in order; threads download ahead."""

  def one(row: _Row) -> _Result:
    if row.fault:
      return _Result(fault=row.fault)
    pace.wait()
    try:
      content = public_fetch.fetch(row.url, limits)
    except public_fetch.FetchError as error:
      return _Result(fault=error.reason)
    extension = _extension(content)
    if not extension:
      return _Result(fault='not_an_image_or_video')
    return _Result(content=content, extension=extension)

  waiting: collections.deque = collections.deque()
  for row in shard:
    waiting.append(pool.submit(one, row))
    if len(waiting) >= _AHEAD * config.workers:
      yield waiting.popleft().result()
  while waiting:
    yield waiting.popleft().result()


def _extension(content: bytes) -> str:
  """Return the extension of a format by its first bytes; '' for others."""
  for start, extension in (
    (b'\xff\xd8\xff', 'jpg'),
    (b'\x89PNG\r\n', 'png'),
    (b'GIF8', 'gif'),
    (b'\x1aE\xdf\xa3', 'webm'),
  ):
    if content.startswith(start):
      return extension
  if content[:4] == b'RIFF' and content[8:12] == b'WEBP':
    return 'webp'
  return 'mp4' if content[4:8] == b'ftyp' else ''


def _write(
  out: DataPath,
  name: str,
  shard: list[_Row],
  results: Iterator[_Result],
  bar: Any,
) -> None:
  """Write the files and the table of a shard."""
  lines = []
  with staged_files(
    str(out / f'{name}.tar'), str(out / f'{name}.parquet')
  ) as folder:
    with tarfile.open(folder / f'{name}.tar', 'w') as tar:
      for number, (row, result) in enumerate(zip(shard, results, strict=True)):
        key = f'{name}{number:05d}'
        status = 'failed_to_download' if result.fault else 'success'
        lines.append(
          {
            'key': key,
            'url': row.url,
            'caption': row.caption,
            'status': status,
            'error_message': result.fault,
            **row.scores,
          }
        )
        if not result.fault:
          _add(tar, f'{key}.{result.extension}', result.content)
          _add(tar, f'{key}.txt', row.caption.encode())
        bar.update()
    names = dict.fromkeys(key for line in lines for key in line)
    columns = {key: [line.get(key) for line in lines] for key in names}
    pyarrow.parquet.write_table(
      pyarrow.table(columns), folder / f'{name}.parquet'
    )


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
  info = tarfile.TarInfo(name)
  info.size = len(content)
  tar.addfile(info, io.BytesIO(content))


def _outcomes(path: DataPath) -> collections.Counter[str]:
  """Return the numbers of rows of a shard, by outcome."""
  with open_stream(path) as file:
    found = pyarrow.parquet.read_table(
      file, columns=['status', 'error_message']
    )
  return collections.Counter(
    row['error_message'] or row['status'] for row in found.to_pylist()
  )
