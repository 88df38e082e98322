"""The benchmark of packed images, on few of them."""

import json
import pathlib
import subprocess
import sys

import pytest

FOLDER = pathlib.Path(__file__).parents[2] / 'benchmarks'


@pytest.mark.slow
def test_packed_images_have_the_loss_of_padded_ones_for_less():
  command = [sys.executable, str(FOLDER / 'packed_images.py'), '--json']
  command += ['--images=12', '--side=4', '--width=64', '--layers=1']
  done = subprocess.run(
    [*command, '--calls=3'], capture_output=True, text=True, check=False
  )
  # Code 1 is that of a time above its limit, which is noise in this size.
  assert done.returncode in (0, 1), done.stderr
  found = json.loads(done.stdout)
  assert (found['packed']['rows'], found['padded']['rows']) == (2, 12)
  assert found['packed']['loss'] == pytest.approx(
    found['padded']['loss'], rel=1e-5
  )
  assert 0.1 < found['ratios']['gflop'] < 0.2
  assert found['packed']['cpu_seconds'] > 0
