"""The jobs of a server in SQLite, which a killed server finds again.

A job is a story and the state of making it. Its story is kept as it was asked
for, as the values of a story file, so that it can be changed and shared. Every
change is one transaction that is on disk when the method returns.
"""

import contextlib
import dataclasses
import json
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from phenaki_jax.errors import NotFoundError, UserError
from phenaki_jax.serving.limits import BusyError

Status = Literal['queued', 'running', 'done', 'failed', 'cancelled']
FINAL = ('done', 'failed', 'cancelled')

_SCHEMA = """
create table if not exists jobs (
  number integer primary key autoincrement,
  id text unique not null,
  status text not null,
  story text not null,
  revision integer not null,
  frames integer not null,
  error text not null,
  created real not null,
  changed real not null,
  deadline real not null,
  details text not null,
  attempt integer not null default 0
);
create index if not exists by_status on jobs (status, number);
create table if not exists model (fingerprint text not null);
"""


class ConflictError(UserError):
  """Report that a story was changed by two clients at the same time."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
  """One row.

  Attributes:
    id: names the job in the API, and its folder.
    status: where it is.
    story: the values of a story file.
    revision: counts the changes of the story.
    frames: that have been made.
    error: why it failed, for the client.
    created, changed: Unix times.
    deadline: Unix time after which the job fails.
    details: JSON values that an API keeps with the job.
    attempt: counts how often the job was taken. A thread that took it earlier
      may still hold it after it was cancelled and waited again.
  """

  id: str
  status: Status
  story: Mapping[str, Any]
  revision: int
  frames: int
  error: str
  created: float
  changed: float
  deadline: float
  details: Mapping[str, Any]
  attempt: int


class Jobs:
  """The jobs of one folder; all methods may be called from any thread."""

  def __init__(self, path: str | os.PathLike[str]):
    """Open the database; jobs that a killed server was making wait again."""
    self._lock = threading.Lock()
    self._database = sqlite3.connect(path, check_same_thread=False)
    self._database.row_factory = sqlite3.Row
    with self._change() as database:
      database.executescript(
        'pragma journal_mode = wal; pragma synchronous = full;' + _SCHEMA
      )
      columns = database.execute('pragma table_info(jobs)').fetchall()
      if 'attempt' not in {column['name'] for column in columns}:
        database.execute(
          'alter table jobs add column attempt integer not null default 0'
        )
      database.execute(
        "update jobs set status = 'queued' where status = 'running'"
      )

  def add(
    self,
    story: Mapping[str, Any],
    *,
    seconds: float | int,
    most: int,
    details: Mapping[str, Any] | None = None,
  ) -> Job:
    """Add a job that waits.

    Args:
      story: the values of a story file.
      seconds: from now to the deadline.
      most: waiting jobs.
      details: JSON values to keep with the job.

    Raises:
      BusyError: that many jobs wait already.
    """
    identifier, now = uuid.uuid4().hex, time.time()
    with self._change() as database:
      self._check_room(database, most)
      database.execute(
        'insert into jobs (id, status, story, revision, frames, error, '
        "created, changed, deadline, details) values (?, 'queued', ?, 0, 0, "
        "'', ?, ?, ?, ?)",
        (
          identifier,
          json.dumps(story),
          now,
          now,
          now + seconds,
          json.dumps(details or {}),
        ),
      )
    return self.get(identifier)

  def get(self, identifier: str) -> Job:
    """Return a job.

    Raises:
      NotFoundError: there is none.
    """
    with self._lock:
      return self._row(self._database, identifier)

  def newest(self, *, limit: int = 100) -> list[Job]:
    """Return the newest jobs, the newest first."""
    with self._lock:
      rows = self._database.execute(
        'select * from jobs order by number desc limit ?', (limit,)
      ).fetchall()
    return [_job(row) for row in rows]

  def count(self) -> dict[str, int]:
    """Return the number of jobs of each status."""
    with self._lock:
      rows = self._database.execute(
        'select status, count(*) from jobs group by status'
      ).fetchall()
    return {status: number for status, number in rows}

  def take(self) -> Job | None:
    """Take the oldest job that waits, which is then running."""
    with self._change() as database:
      row = database.execute(
        "update jobs set status = 'running', changed = ?, "
        'attempt = attempt + 1 where number = ('
        "select min(number) from jobs where status = 'queued') returning id",
        (time.time(),),
      ).fetchone()
      return self._row(database, row['id']) if row else None

  def change_story(
    self,
    identifier: str,
    story: Mapping[str, Any],
    *,
    revision: int,
    seconds: float | int,
    most: int,
  ) -> Job:
    """Replace the story of a job; a job that has ended waits again.

    Args:
      identifier: of the job.
      story: the values of a story file.
      revision: of the story that was changed.
      seconds: from now to the new deadline.
      most: waiting jobs.

    Raises:
      NotFoundError: there is no such job.
      ConflictError: another client has changed the story since.
      BusyError: that many jobs wait already.
    """
    now = time.time()
    with self._change() as database:
      job = self._row(database, identifier)
      if job.revision != revision:
        raise ConflictError(
          f'the story was changed at the same time (revision {job.revision}, '
          f'not {revision}); read it again and repeat the change'
        )
      if job.status in FINAL:
        self._check_room(database, most)
      database.execute(
        'update jobs set story = ?, revision = revision + 1, changed = ?, '
        "deadline = ?, error = '', status = case status when 'running' then "
        "'running' else 'queued' end where id = ?",
        (json.dumps(story), now, now + seconds, identifier),
      )
      return self._row(database, identifier)

  def progress(self, job: Job, frames: int) -> None:
    """Store how many frames have been made in this attempt.

    A job that was deleted or taken again is left as it is.
    """
    with self._change() as database:
      database.execute(
        'update jobs set frames = ?, changed = ? where id = ? and attempt = ?',
        (frames, time.time(), job.id, job.attempt),
      )

  def end(self, job: Job, status: Status, *, error: str = '') -> bool:
    """End a running job that is still this revision and this attempt.

    Args:
      job: as it was taken or read.
      status: its new status.
      error: why it failed, for the client.

    Returns:
      Whether it was ended.
    """
    with self._change() as database:
      done = database.execute(
        'update jobs set status = ?, error = ?, changed = ? where id = ? and '
        "revision = ? and attempt = ? and status = 'running'",
        (status, error, time.time(), job.id, job.revision, job.attempt),
      )
      return bool(done.rowcount)

  def cancel(self, identifier: str) -> Job:
    """Cancel a job that waits or runs; one that has ended stays as it is.

    Raises:
      NotFoundError: there is no such job.
    """
    with self._change() as database:
      database.execute(
        "update jobs set status = 'cancelled', changed = ? where id = ? and "
        "status in ('queued', 'running')",
        (time.time(), identifier),
      )
      return self._row(database, identifier)

  def release(self, job: Job) -> None:
    """Let a running job wait again, because the server stops."""
    with self._change() as database:
      database.execute(
        "update jobs set status = 'queued' where id = ? and attempt = ? and "
        "status = 'running'",
        (job.id, job.attempt),
      )

  def remove(self, identifier: str) -> None:
    """Remove a job.

    Raises:
      NotFoundError: there is no such job.
    """
    with self._change() as database:
      self._row(database, identifier)
      database.execute('delete from jobs where id = ?', (identifier,))

  def remove_ended(self, beyond: int) -> list[str]:
    """Remove all ended jobs but the newest `beyond`; return their ids."""
    with self._change() as database:
      rows = database.execute(
        'delete from jobs where number in (select number from jobs where '
        "status in ('done', 'failed', 'cancelled') "
        'order by number desc limit -1 offset ?) returning id',
        (beyond,),
      ).fetchall()
    return [row['id'] for row in rows]

  def bind(self, fingerprint: str) -> str:
    """Store the fingerprint of the model, unless there is one already.

    Returns:
      The fingerprint that is stored.
    """
    with self._change() as database:
      database.execute(
        'insert into model select ? where not exists (select * from model)',
        (fingerprint,),
      )
      return database.execute('select fingerprint from model').fetchone()[0]

  def close(self) -> None:
    """Close the database."""
    with self._lock:
      self._database.close()

  @contextlib.contextmanager
  def _change(self) -> Iterator[sqlite3.Connection]:
    with self._lock, self._database:
      yield self._database

  @staticmethod
  def _check_room(database: sqlite3.Connection, most: int) -> None:
    (count,) = database.execute(
      "select count(*) from jobs where status = 'queued'"
    ).fetchone()
    if count >= most:
      raise BusyError(f'{count} stories wait already; try again later')

  @staticmethod
  def _row(database: sqlite3.Connection, identifier: str) -> Job:
    row = database.execute(
      'select * from jobs where id = ?', (identifier,)
    ).fetchone()
    if row is None:
      raise NotFoundError(f'there is no story {identifier[:64]}')
    return _job(row)


def _job(row: sqlite3.Row) -> Job:
  names = {field.name for field in dataclasses.fields(Job)}
  values = {name: row[name] for name in names}
  values['story'] = json.loads(values['story'])
  values['details'] = json.loads(values['details'])
  return Job(**values)
