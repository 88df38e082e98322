"""A reader is trained by the loop, measured, written and measured again."""

import pytest

from phenaki_jax.data.config import DataConfig
from phenaki_jax.errors import UserError
from phenaki_jax.evaluation import reader_accuracy
from phenaki_jax.reader.config import ReaderConfig
from phenaki_jax.runs import reader, train
from phenaki_jax.runs.experiment import Experiment
from phenaki_jax.runs.validation import validate
from phenaki_jax.training.config import OptimConfig, TrainConfig


def _experiment(sheets, **changes):
  values = {
    'kind': 'reader',
    'data': DataConfig(
      size=(16, 16),
      frames=2,
      batch_size=16,
      image_share=0.5,
      continuation_share=0.0,
      num_threads=0,
    ),
    'reader': ReaderConfig(
      sheets=str(sheets), side=16, widths=(8, 8, 8), depth=1, features=8
    ),
    'optim': OptimConfig(warmup_steps=0),
    'train': TrainConfig(steps=2, log_every=1),
  }
  return Experiment(**{**values, **changes})


def test_trained_reader_is_measured_and_written(sprite_sheets, tmp_path):
  run, out = tmp_path / 'run', tmp_path / 'reader.safetensors'
  # Two frames fit no token grid, but a reader has none.
  assert train.train(_experiment(sprite_sheets), run) == 0
  assert 'heldout/accuracy/kind' in (run / 'metrics.jsonl').read_text()
  request = {'examples': 2, 'size': 16}
  scores = reader.measure(
    reader.Request(reader=str(run), out=str(out), **request)
  )
  assert len(scores) == 8
  assert scores['clips', 'blur']['place'].asked == 2
  assert out.stat().st_size < 100_000
  opened = reader.open_reader(str(out))
  assert set(opened.thresholds) == set(scores['clips', 'clean'])
  again = reader.measure(
    reader.Request(reader=str(out), sheets=str(sprite_sheets), **request)
  )
  # Half precision may change a close decision, but no count of readings.
  for key, facts in again.items():
    for fact, found in facts.items():
      assert abs(found.right - scores[key][fact].right) <= 1
      assert found.asked == scores[key][fact].asked
  reader_accuracy.to_markdown(again)
  with pytest.raises(UserError, match='reader.safetensors .* --sheets DIR'):
    reader.measure(reader.Request(reader=str(out), **request))


def test_sizes_that_do_not_fit_are_refused():
  validate(_experiment('sheets'), num_devices=1)
  for config in (ReaderConfig(side=32), ReaderConfig(side=20)):
    with pytest.raises(UserError, match='multiples of 8'):
      validate(_experiment('sheets', reader=config), num_devices=1)


def test_run_of_another_model_is_no_reader(tmp_path):
  (tmp_path / 'config.json').write_text('{"kind": "tokenizer"}')
  with pytest.raises(UserError, match='the run of a tokenizer'):
    reader.open_reader(str(tmp_path))
