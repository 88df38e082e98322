"""A bar on a terminal, plain lines elsewhere."""

import io

import pytest

from phenaki_jax.training.progress import Progress, readable


class Terminal(io.StringIO):
  def isatty(self):
    return True


@pytest.mark.parametrize(
  ('seconds', 'text'),
  [(0.0, '0:00'), (-3.0, '0:00'), (65.2, '1:05'), (3725.0, '1:02:05')],
)
def test_durations_are_formatted(seconds, text):
  assert readable(seconds) == text


@pytest.fixture(autouse=True)
def _bars_are_wanted(monkeypatch):
  monkeypatch.delenv('TQDM_DISABLE', raising=False)


def _run(stream, **kwargs):
  progress = Progress(start=2, steps=10, stream=stream, **kwargs)
  for step in (3, 4):
    progress.advance(step)
  progress.report(4, {'loss': 0.51239, 'clips/s': 12.0})
  progress.say('Saved.')
  progress.close()
  return stream.getvalue()


def test_lines_hold_the_step_the_time_left_and_the_numbers():
  lines = _run(io.StringIO()).splitlines()
  assert lines == ['step 4/10, 0:00 left, loss 0.5124, clips/s 12', 'Saved.']


def test_a_terminal_gets_a_bar():
  text = _run(Terminal())
  assert '\r' in text and '4/10' in text
  assert 'loss 0.5124, clips/s 12' in text and 'Saved.\n' in text


def test_the_time_left_is_unknown_at_first():
  stream = io.StringIO()
  progress = Progress(start=0, steps=10, stream=stream)
  progress.advance(1)
  progress.report(1, {'loss': 1.0})
  assert stream.getvalue() == 'step 1/10, ? left, loss 1\n'


@pytest.mark.parametrize('stream', [io.StringIO(), Terminal()])
def test_muted_progress_prints_nothing(stream):
  assert _run(stream, muted=True) == ''
