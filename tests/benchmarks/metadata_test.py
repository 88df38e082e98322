"""The benchmark of metadata runs every case, on few rows."""

import json
import pathlib
import subprocess
import sys

SCRIPT = pathlib.Path(__file__).parents[2] / 'benchmarks' / 'metadata.py'


def test_every_case_is_measured():
  command = [sys.executable, str(SCRIPT), '--rows', '1000', '--json']
  done = subprocess.run(command, check=True, capture_output=True, text=True)
  found = {row['case']: row for row in json.loads(done.stdout)}
  assert set(found) == {
    *('webvid', 'flat', 'img2dataset', 'manifest', 'hash', 'check')
  }
  for row in found.values():
    assert row['rows'] == 1000 and row['rate'] == 1000 / row['cpu']
    assert 0 < row['cpu'] < 60 and 50 < row['mb'] < 300
