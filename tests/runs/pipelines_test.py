"""Runs on batches of several shapes train, resume, and compile each once."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from phenaki_jax.errors import UserError
from phenaki_jax.runs import experiment as experiment_lib
from phenaki_jax.runs import validation

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUCKETS = (
  'data.buckets=[{"frames": 5, "size": [16, 16], "weight": 2}, '
  '{"frames": 3, "size": [32, 16], "batch_size": 8}]'
)
SMALL = [
  *('data.size=16,16', 'data.frames=5', 'data.continuation_share=0'),
  *('data.batch_size=4', 'data.image_share=0.5', BUCKETS),
]

# Trains a tokenizer and a generator, each in two runs. The last line counts the
# compilations of the step in the four runs.
PROGRAM = """
import dataclasses, json, sys
import jax
names = []
def listen(event, seconds, **facts):
  if event == '/jax/core/compile/backend_compile_duration':
    names.append(facts['fun_name'])
jax.monitoring.register_event_duration_secs_listener(listen)
from phenaki_jax.runs import experiment
from phenaki_jax.runs.train import train
folder, small = sys.argv[1], json.loads(sys.argv[2])
counts = []
def run(config, settings, place):
  for steps in (4, 7):
    names.clear()
    chosen = experiment.resolve(config, [*settings, f'train.steps={steps}'])
    assert train(chosen, folder + place) == 0
    counts.append(names.count('jit(step)'))
small += ['train.log_every=1', 'train.evaluate_every=7',
  'train.checkpoint_every=4']
run('configs/tokenizer/tiny.py', [*small, 'tokenizer.width=16',
  'tokenizer.num_heads=2', 'tokenizer.mlp_dim=32',
  'tokenizer.spatial_layers=1', 'tokenizer.temporal_layers=1'], '/one')
run('configs/generator/tiny.py', [*small, 'data.context_frames=1',
  'generator.width=16', 'generator.num_heads=2', 'generator.mlp_dim=32',
  'generator.num_layers=1', 'text.width=16', 'text.num_layers=1',
  'task.prediction_frames=1', 'sampling.steps=2',
  f'tokenizer_dir={folder}/one'], '/two')
print(json.dumps(counts))
"""


@pytest.mark.slow
@pytest.mark.unoptimized
def test_a_tokenizer_and_a_generator_train_on_several_shapes(
  tmp_path, compiled_once
):
  one_device = {'PYTHONPATH': str(ROOT), 'JAX_NUM_CPU_DEVICES': '1'}
  done = subprocess.run(
    [sys.executable, '-c', PROGRAM, str(tmp_path), json.dumps(SMALL)],
    cwd=ROOT,
    capture_output=True,
    text=True,
    # The second of two runs compiles nothing.
    env={**os.environ, **one_device, **compiled_once},
  )
  assert done.returncode == 0, done.stderr
  assert json.loads(done.stdout.splitlines()[-1]) == [2, 2, 2, 2]
  for name in ('one', 'two'):
    lines = (tmp_path / name / 'metrics.jsonl').read_text().splitlines()
    steps = [json.loads(line) for line in lines if 'train/loss' in line]
    assert [found['step'] for found in steps] == list(range(1, 8))
    seen = [found['train/clips_seen'] for found in steps]
    # Two of three steps have 2 clips, the third has 4.
    assert seen[2] == 8 and seen[5] == 16
    assert set(b - a for a, b in zip(seen, seen[1:], strict=False)) == {2, 4}


def check(*settings):
  chosen = experiment_lib.resolve(
    'configs/tokenizer/tiny.py', [*SMALL, *settings]
  )
  validation.validate(chosen, num_devices=1)


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    (['data.buckets=[{"frames": 5, "size": [16, 16]}, {"frames": 4, '
      '"size": [16, 16]}]'], '4 frames are not one frame'),
    (['data.buckets=[{"frames": 5, "size": [16, 16]}, {"frames": 5, '
      '"size": [20, 16]}]'], 'a height of 20 pixels'),
    (['train.accumulate=4'], 'a bucket|divide'),
  ],
)  # fmt: skip
def test_every_bucket_is_checked(settings, message):
  check()
  with pytest.raises(UserError, match=message):
    check(*settings)
