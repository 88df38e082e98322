import json

import pytest

from phenaki_jax import config as config_lib
from phenaki_jax.errors import UserError
from phenaki_jax.runs.experiment import Experiment
from phenaki_jax.runs.follow import follow


@pytest.fixture
def run(tmp_path):
  """Write a run of six steps without checkpoints."""
  values = {'kind': 'tokenizer', 'train': {'steps': 6}}
  experiment = config_lib.build(Experiment, values)
  (tmp_path / 'config.json').write_text(config_lib.to_json(experiment))
  return tmp_path


def _save(run, step, is_finished=True):
  folder = run / 'checkpoints' / str(step)
  folder.mkdir(parents=True, exist_ok=True)
  if is_finished:
    (folder / 'manifest.json').write_text(json.dumps({}))


def test_each_new_checkpoint_is_measured_until_the_last(run):
  measured, waits = [], []
  arrivals = [
    lambda: _save(run, 2, is_finished=False),
    lambda: _save(run, 2),
    lambda: None,
    lambda: (_save(run, 3), _save(run, 4)),
    lambda: _save(run, 6),
  ]

  def wait(seconds):
    waits.append(seconds)
    arrivals.pop(0)()

  assert follow(run, measured.append, seconds=5, wait=wait) == 3
  assert measured == [2, 4, 6]
  assert waits == [5] * 5 and not arrivals


def test_a_checkpoint_that_is_deleted_meanwhile_is_left_out(run, caplog):
  _save(run, 2)

  def measure(step):
    if step == 2:
      raise UserError('it is gone')

  found = follow(run, measure, seconds=1, wait=lambda seconds: _save(run, 6))
  assert found == 1
  assert 'Step 2 is left out: it is gone' in caplog.text


def test_a_fault_of_the_last_checkpoint_is_raised(run):
  _save(run, 6)

  def measure(step):
    raise UserError('broken')

  with pytest.raises(UserError, match='broken'):
    follow(run, measure, seconds=1)


def test_another_folder_is_refused(tmp_path):
  with pytest.raises(UserError, match='is no run directory'):
    follow(tmp_path, print, seconds=1)
