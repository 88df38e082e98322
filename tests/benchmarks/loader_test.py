"""The benchmark of the loader measures every case."""

import json
import pathlib
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).parents[2] / 'benchmarks' / 'loader.py'


@pytest.mark.slow
def test_every_case_is_measured():
  command = [sys.executable, str(SCRIPT), '--clips', '24', '--batch', '4']
  done = subprocess.run(
    [*command, '--steps', '2'], check=True, capture_output=True, text=True
  )
  found = json.loads(done.stdout)
  assert list(found) == [
    *('decoded', 'pyav', 'one scaler', 'resized'),
    *('raw', 're-encoded', 'cached', 'tokens'),
    'frames/s beside a busy thread, 5 ms',
    'frames/s beside a busy thread, 0.1 ms',
    *('raw / decoded', 'raw / pyav', 'raw / one scaler', 'raw / resized'),
  ]
  assert min(found.values()) > 0
  assert found['cached'] > found['raw'] and found['tokens'] > found['raw']
