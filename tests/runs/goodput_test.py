"""Goodput against a direct account of simulated runs, and its table."""

import json
import random

import pytest

from phenaki_jax.errors import NotFoundError
from phenaki_jax.runs import goodput
from phenaki_jax.training.events import FOLDER, Events

STEPS, EVERY = 40, 7  # of a simulated run; a checkpoint every EVERY steps


class Killed(BaseException):
  """Ends a start like SIGKILL, without a record."""


def _simulate(folder, seed):
  """Write the events of a run that is killed, and loses its state, at random.

  Returns the account of its time, the steps that were lost, and its starts.
  """
  rng = random.Random(seed)
  now, saved = 1e9, 0
  account = dict.fromkeys(goodput.REASONS, 0.0)
  # Seconds of steps and of waiting, by the last start that did the step.
  done, lost, starts = {}, 0, 0

  def pass_(kind, seconds):
    nonlocal now
    now += seconds
    account[kind] += seconds

  def restore(events):
    nonlocal lost
    with events.during('restore') as found:
      pass_('restore', rng.uniform(1, 2))
      found['step'] = saved
    for step in [s for s in done if s > saved]:
      seconds, wait = done.pop(step)
      account['steps'] -= seconds
      account['wait'] -= wait
      account['lost'] += seconds + wait
      lost += 1

  def start():
    nonlocal saved
    events = Events(folder, interval=0.0, clock=lambda: now)
    pass_('prepare', rng.uniform(1, 2))
    restore(events)
    events.open(saved)
    first = step = saved + 1
    is_compiled = False
    while step <= STEPS:
      if rng.random() < 0.04:
        raise Killed
      wait = 0.0
      if is_compiled:
        with events.waiting():
          wait = rng.uniform(0, 0.1)
          pass_('wait', wait)
        seconds = rng.uniform(0.5, 1)
        pass_('steps', seconds)
        done[step] = (seconds, wait)
        # Recorded with the second step, whose time is that of both.
        done.setdefault(first, (0.0, 0.0))
      else:
        pass_('compile', rng.uniform(3, 4))
        is_compiled = True
      events.step(step)
      if rng.random() < 0.04:
        # The state is lost.
        done.setdefault(first, (0.0, 0.0))
        restore(events)
        events.rewind(saved)
        step = saved + 1
        continue
      if step % EVERY == 0 or step == STEPS:
        with events.during('save', step=step):
          pass_('save', rng.uniform(0.1, 0.2))
        saved = step
      step += 1
    pass_('stop', 0.5)
    events.record('stop', code=0)

  while saved < STEPS:
    starts += 1
    try:
      start()
    except Killed:
      # The next start may be long after.
      pass_('down', rng.uniform(10, 20))
  return account, starts, lost


@pytest.mark.parametrize('seed', range(8))
def test_the_account_of_a_run_that_is_killed_at_random(tmp_path, seed):
  account, starts, lost = _simulate(tmp_path, seed)
  found = goodput.measure(goodput.read(tmp_path))
  assert (found.starts, found.lost, found.steps) == (starts, lost, STEPS)
  # The files hold milliseconds.
  for kind, seconds in found.seconds.items():
    assert seconds == pytest.approx(account[kind], abs=0.2), kind
  assert found.total == pytest.approx(sum(account.values()), abs=0.01)
  assert found.share == found.seconds['steps'] / found.total
  spans = found.spans
  assert spans[0].begin == 0
  for one, two in zip(spans, spans[1:], strict=False):
    assert one.end == two.begin


def _write(folder, number, *events):
  path = folder / FOLDER / f'{number:04d}.jsonl'
  path.parent.mkdir(exist_ok=True)
  lines = [json.dumps({'time': t, 'event': e, **f}) for t, e, f in events]
  path.write_text('\n'.join(lines) + '\n')


@pytest.fixture
def resumed(tmp_path):
  """Write two starts: steps 1 to 10, preempted at once; then 7 to 12."""
  ten = {'first': 1, 'last': 10, 'wait': 5}
  six = {'first': 7, 'last': 12, 'wait': 0}
  _write(
    tmp_path,
    1,
    (100, 'start', {'step': 0}),
    (150, 'steps', ten),
    (151, 'preempt', {'code': 75}),
  )
  _write(
    tmp_path,
    2,
    (161, 'start', {'step': 6}),
    (191, 'steps', six),
    (192, 'stop', {'code': 0}),
  )
  return tmp_path


def test_a_range_of_steps_is_lost_in_part(resumed):
  found = goodput.measure(goodput.read(resumed))
  assert (found.steps, found.lost, found.preempted) == (12, 4, 1)
  seconds = {k: v for k, v in found.seconds.items() if v}
  assert seconds == pytest.approx(
    {'steps': 27 + 30, 'wait': 3, 'lost': 20, 'stop': 2, 'down': 10}
  )
  assert found.share == pytest.approx(57 / 92)


def test_a_run_that_is_made_longer_later_was_not_down(resumed):
  _write(resumed, 3, (9192, 'start', {'step': 12}), (9194, 'prepare', {}))
  found = goodput.measure(goodput.read(resumed))
  assert found.total == 94 and found.seconds['down'] == 10


def test_the_clock_of_another_machine_may_be_behind(resumed):
  _write(resumed, 2, (140, 'start', {'step': 6}), (142, 'restore', {}))
  found = goodput.measure(goodput.read(resumed))
  assert found.seconds['down'] == 0 and found.total == 53


def test_a_line_that_a_kill_cut_off_is_ignored(resumed):
  path = resumed / FOLDER / '0002.jsonl'
  whole = goodput.measure(goodput.read(resumed))
  path.write_text(path.read_text() + '{"time": 19')
  assert goodput.measure(goodput.read(resumed)) == whole


def test_a_folder_without_events_is_refused(tmp_path):
  with pytest.raises(NotFoundError, match='holds no events'):
    goodput.read(tmp_path)


def test_the_table_has_each_kind_of_time_that_was_spent(resumed):
  table = goodput.to_markdown(goodput.measure(goodput.read(resumed)))
  assert table.startswith(
    'Goodput 0.620 of 92.0 s: 12 steps, 4 done again; started 2 times, '
    'preempted 1. Steps waited for data for 0.0500 of their time.'
  )
  assert '| wait | waiting for data | 3.0 | 0.033 |' in table
  assert '| evaluate |' not in table
