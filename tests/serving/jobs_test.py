"""Jobs survive the process, wait in order and never change twice at once."""

import concurrent.futures
import dataclasses
import time

import pytest

from phenaki_jax.errors import NotFoundError
from phenaki_jax.serving.jobs import ConflictError, Jobs
from phenaki_jax.serving.limits import BusyError

STORY = {'scenes': [{'prompt': 'a'}]}


@pytest.fixture
def jobs(tmp_path):
  jobs = Jobs(tmp_path / 'jobs.sqlite')
  yield jobs
  jobs.close()


def _add(jobs, most=100, **details):
  return jobs.add(STORY, seconds=60, most=most, details=details)


def test_jobs_are_taken_once_each_in_order(jobs):
  added = [_add(jobs).id for _ in range(40)]
  with concurrent.futures.ThreadPoolExecutor(8) as pool:
    taken = list(pool.map(lambda _: jobs.take(), range(40)))
  assert sorted(job.id for job in taken) == sorted(added)
  assert jobs.take() is None
  assert jobs.count() == {'running': 40}
  first = _add(jobs)
  _add(jobs)
  assert jobs.take() == jobs.get(first.id)


def test_new_process_finds_running_jobs_waiting(jobs, tmp_path):
  ids = [_add(jobs, api='videos').id for _ in range(3)]
  jobs.end(jobs.take(), 'done')
  jobs.progress(jobs.take(), 9)
  # The first process is dead; nothing was closed.
  again = Jobs(tmp_path / 'jobs.sqlite')
  found = [again.get(one) for one in ids]
  again.close()
  assert [job.status for job in found] == ['done', 'queued', 'queued']
  assert found[1].frames == 9
  assert found[2].details == {'api': 'videos'}
  assert found[0].story == STORY


def test_full_queue_refuses(jobs):
  _add(jobs, most=1)
  with pytest.raises(BusyError, match='1 stories wait'):
    _add(jobs, most=1)
  assert jobs.count() == {'queued': 1}


def test_changed_story_is_made_again_and_conflicts_are_refused(jobs):
  job = _add(jobs)
  options = {'seconds': 60, 'most': 5}
  other = {'scenes': [{'prompt': 'b'}]}
  taken = jobs.take()
  changed = jobs.change_story(job.id, other, revision=0, **options)
  assert (changed.status, changed.revision) == ('running', 1)
  with pytest.raises(ConflictError, match='read it again'):
    jobs.change_story(job.id, STORY, revision=0, **options)
  # What was made is not the story any more.
  assert not jobs.end(taken, 'done')
  assert jobs.end(changed, 'done')
  changed = jobs.change_story(job.id, STORY, revision=1, **options)
  assert (changed.status, changed.story) == ('queued', STORY)


def test_cancelled_job_does_not_end_as_done(jobs):
  job = _add(jobs)
  taken = jobs.take()
  assert jobs.cancel(job.id).status == 'cancelled'
  assert not jobs.end(taken, 'done')
  jobs.release(taken)
  assert jobs.get(job.id).status == 'cancelled'


def test_earlier_attempt_changes_nothing(jobs):
  job = _add(jobs)
  old = jobs.take()
  jobs.cancel(job.id)
  jobs.change_story(job.id, STORY, revision=0, seconds=60, most=5)
  new = jobs.take()
  assert (old.attempt, new.attempt) == (1, 2)
  assert not jobs.end(dataclasses.replace(old, revision=1), 'failed')
  jobs.release(old)
  jobs.progress(old, 9)
  assert jobs.get(job.id) == new
  assert jobs.end(new, 'done')


def test_database_without_attempts_is_opened(jobs, tmp_path):
  job = _add(jobs)
  with jobs._change() as database:
    database.execute('alter table jobs drop column attempt')
  again = Jobs(tmp_path / 'jobs.sqlite')
  assert again.take().attempt == 1
  assert again.get(job.id).status == 'running'
  again.close()


def test_oldest_ended_jobs_are_removed(jobs):
  ids = [_add(jobs).id for _ in range(4)]
  for _ in ids[:3]:
    jobs.end(jobs.take(), 'failed', error='why')
  assert jobs.get(ids[0]).error == 'why'
  assert set(jobs.remove_ended(1)) == {ids[0], ids[1]}
  assert jobs.remove_ended(1) == []
  with pytest.raises(NotFoundError):
    jobs.get(ids[0])
  with pytest.raises(NotFoundError):
    jobs.remove(ids[0])
  assert [job.id for job in jobs.newest(limit=2)] == [ids[3], ids[2]]


def test_deadline_is_in_the_future(jobs):
  assert 50 < _add(jobs).deadline - time.time() <= 60
