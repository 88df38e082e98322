"""The benchmark of waiting trains from files and from tokens."""

import json
import pathlib
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).parents[2] / 'benchmarks' / 'data_wait.py'
SMALL = (
  *('data.frames=3', 'data.batch_size=2', 'data.context_frames=1'),
  'task.prediction_frames=1',
  *('tokenizer.width=16', 'tokenizer.num_heads=2', 'tokenizer.mlp_dim=32'),
  *('tokenizer.spatial_layers=1', 'tokenizer.temporal_layers=1'),
)


@pytest.mark.slow
@pytest.mark.unoptimized
def test_both_trainings_are_measured():
  command = [sys.executable, str(SCRIPT), '--size', '16', '--clips', '8']
  for text in SMALL:
    command += ['--set', text]
  done = subprocess.run(
    [*command, '--steps', '4'], check=True, capture_output=True, text=True
  )
  found = json.loads(done.stdout)
  assert list(found) == ['raw', 'tokens']
  for one in found.values():
    assert one['seconds_per_step'] > 0 and 0 <= one['wait_share'] < 1
