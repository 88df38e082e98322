"""The benchmark of compile times, with few layers."""

import json
import pathlib
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).parents[2] / 'benchmarks' / 'compile_time.py'


@pytest.mark.slow
def test_a_warm_start_is_faster_than_a_cold_one():
  command = [sys.executable, str(SCRIPT), '--json', '--runs=1']
  done = subprocess.run(
    [*command, '--few=2', '--many=4'], capture_output=True, text=True
  )
  # Code 1 is that of a ratio above its limit.
  assert done.returncode in (0, 1), done.stderr
  found = json.loads(done.stdout)
  assert found['seconds'].keys() == {'few', 'many', 'warm'}
  assert found['warm'] < 0.8 and found['depth'] < 2.0
