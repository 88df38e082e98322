"""The lines that a start of a run writes, by a clock that the test moves."""

import json

import pytest

from phenaki_jax.training.events import FOLDER, Events


class Clock:
  """A clock that only `pass_` moves."""

  def __init__(self):
    self.now = 1000.0

  def __call__(self):
    return self.now

  def pass_(self, seconds):
    self.now += seconds


@pytest.fixture
def clock():
  return Clock()


@pytest.fixture
def events(tmp_path, clock):
  events = Events(tmp_path, clock=clock)
  events.facts = {'commit': 'abc'}
  return events


def _lines(folder, number=1):
  path = folder / FOLDER / f'{number:04d}.jsonl'
  return [json.loads(line) for line in path.read_text().splitlines()]


def _restore(events, clock, *, step=0):
  clock.pass_(2)
  with events.during('restore') as found:
    clock.pass_(1)
    found['step'] = step
  events.open(step)


def test_every_second_belongs_to_one_event(events, clock, tmp_path):
  _restore(events, clock)
  clock.pass_(5)
  events.step(1)
  for step in (2, 3):
    with events.waiting():
      clock.pass_(0.25)
    clock.pass_(1)
    events.step(step)
  with events.during('save', step=3):
    clock.pass_(0.5)
  with events.during('evaluate', step=3):
    clock.pass_(4)
  clock.pass_(1)
  events.record('stop', code=0)
  assert _lines(tmp_path) == [
    {'time': 1000.0, 'event': 'start', 'step': 0, 'commit': 'abc'},
    {'time': 1002.0, 'event': 'prepare'},
    {'time': 1003.0, 'event': 'restore', 'step': 0},
    {'time': 1008.0, 'event': 'compile', 'step': 1},
    {'time': 1010.5, 'event': 'steps', 'first': 1, 'last': 3, 'wait': 0.5},
    {'time': 1011.0, 'event': 'save', 'step': 3},
    {'time': 1015.0, 'event': 'evaluate', 'step': 3},
    {'time': 1016.0, 'event': 'stop', 'code': 0},
  ]


def test_steps_are_recorded_once_in_an_interval(tmp_path, clock):
  events = Events(tmp_path, interval=10.0, clock=clock)
  _restore(events, clock, step=7)
  events.step(8)
  for step in range(9, 34):
    clock.pass_(1)
    events.step(step)
  steps = [e for e in _lines(tmp_path) if e['event'] == 'steps']
  assert [(e['first'], e['last']) for e in steps] == [(8, 18), (19, 28)]


def test_steps_after_a_rollback_are_recorded_again(events, clock, tmp_path):
  _restore(events, clock, step=3)
  for step in (4, 5, 6):
    events.step(step)
    clock.pass_(1)
  with events.during('restore') as found:
    clock.pass_(2)
    found['step'] = 4
  events.rewind(4)
  for step in (5, 6):
    clock.pass_(1)
    events.step(step)
  with events.during('save', step=6):
    clock.pass_(0.5)
  assert _lines(tmp_path)[4:] == [
    {'time': 1006.0, 'event': 'steps', 'first': 4, 'last': 6, 'wait': 0.0},
    {'time': 1008.0, 'event': 'restore', 'step': 4},
    {'time': 1010.0, 'event': 'steps', 'first': 5, 'last': 6, 'wait': 0.0},
    {'time': 1010.5, 'event': 'save', 'step': 6},
  ]


def test_each_start_has_a_file(tmp_path, clock):
  for number in (1, 2, 3):
    _restore(Events(tmp_path, clock=clock), clock, step=number)
    assert _lines(tmp_path, number)[0]['step'] == number


def test_nothing_is_written_before_the_run_is_known(events, clock, tmp_path):
  with pytest.raises(ValueError), events, events.during('restore'):
    raise ValueError('the directory belongs to another run')
  assert list(tmp_path.iterdir()) == []


def test_a_fault_is_recorded_without_its_message(events, clock, tmp_path):
  with pytest.raises(OSError), events:
    _restore(events, clock)
    events.step(1)
    clock.pass_(3)
    raise OSError(f'{tmp_path}/secret is gone')
  *_, steps, fault = _lines(tmp_path)
  assert steps['event'] == 'steps' and steps['last'] == 1
  assert fault == {'time': 1006.0, 'event': 'fault', 'error': 'OSError'}
  assert str(tmp_path) not in (tmp_path / FOLDER / '0001.jsonl').read_text()
