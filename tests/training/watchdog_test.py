"""A process that waits for too long ends, and says for what."""

import json
import subprocess
import sys
import time

import pytest

from phenaki_jax.training.watchdog import STALLED, Watchdog

STALL = '''
import io, sys, threading, time
from phenaki_jax.training.watchdog import Watchdog

class Notebook(io.StringIO):
  """A stream without a descriptor."""

  def write(self, text):
    return sys.__stdout__.write(text)

  def flush(self):
    sys.__stdout__.flush()

if sys.argv[2] == 'notebook':
  sys.stderr = Notebook()

def forgotten():
  time.sleep(60)

with Watchdog(sys.argv[1], patience=0.8) as watchdog:
  for step in range(5):
    watchdog.wait_for(f'step {step}')
    time.sleep(0.3)
  print('in time', flush=True)
  watchdog.wait_for('the batch of step 7')
  forgotten()
'''


@pytest.mark.parametrize('place', ['terminal', 'notebook'])
def test_a_wait_that_is_too_long_ends_the_process(tmp_path, place):
  result = subprocess.run(
    [sys.executable, '-c', STALL, str(tmp_path), place],
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert result.returncode == STALLED == 70
  assert result.stdout.startswith('in time\n')
  said = result.stdout if place == 'notebook' else result.stderr
  assert 'waiting for the batch of step 7' in said
  # The stacks of all threads.
  assert 'in forgotten' in result.stderr


def test_a_process_that_is_done_is_not_watched(tmp_path):
  with Watchdog(tmp_path, patience=0.1):
    pass
  time.sleep(0.2)
  # One process alone tells nobody.
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  ('told', 'expected'),
  [
    (None, 'has said nothing'),
    ('[1', 'has said nothing'),
    (['step 5', 3, 0], 'waits for step 5 since 3 s'),
    (['step 5', 3, -20], 'is silent since 20 s; it last waited for step 5'),
  ],
)
def test_another_process_is_described(tmp_path, told, expected):
  watchdog = Watchdog(tmp_path, patience=30.0)
  path = tmp_path / '.waiting/1.json'
  path.parent.mkdir()
  if isinstance(told, list):
    told = json.dumps([*told[:2], time.time() + told[2]])
  if told:
    path.write_text(told)
  assert watchdog._of(1) == expected
