"""Short forms of the benchmarks of faults."""

import os
import pathlib
import shlex
import subprocess
import sys

import numpy as np
import pytest

FOLDER = pathlib.Path(__file__).resolve().parents[2] / 'benchmarks' / 'faults'


def test_no_damage_is_restored(tmp_path, monkeypatch):
  monkeypatch.syspath_prepend(str(FOLDER))
  import damage

  case = damage.Case(tmp_path)
  assert case.outcome() == 'unharmed'
  by_size = sorted(
    case.files(), key=lambda file: -(case.newer / file).stat().st_size
  )
  rng = np.random.default_rng(0)
  # A part of an array, which no digest of a file covers, and a small file.
  assert (case.newer / by_size[0]).stat().st_size > 1 << 16
  for file in (by_size[0], by_size[20]):
    path = case.newer / file
    damage.flip(path, int(rng.integers(8 * path.stat().st_size)))
    assert case.outcome() == 'repaired', file
  (case.newer / by_size[1]).unlink()
  assert case.outcome() == 'repaired'


def test_altered_bytes_are_noticed(tmp_path, monkeypatch):
  monkeypatch.syspath_prepend(str(FOLDER))
  import corrupt

  found, faults = corrupt.run_alter(tmp_path, 40, np.random.default_rng(0))
  assert found == {'altered': 40, 'noticed': {'changed_file': 40}}
  assert not faults


@pytest.mark.parametrize('kind', ['bomb', 'flip', 'header', 'splice', 'zero'])
def test_damage_changes_a_file(monkeypatch, kind):
  monkeypatch.syspath_prepend(str(FOLDER))
  import corrupt

  rng = np.random.default_rng(0)
  data, other = (rng.bytes(5000) for _ in range(2))
  data = b'....avc1' + data
  assert corrupt.damage(kind, data, other, rng) != data


# They start a small training again and again, which is mostly compiled.
RESTARTS = [
  'kills.py --kills 4 --steps 8',
  'peers.py --ways killed',
  'signals.py --phases compile "write 8"',
]


@pytest.mark.slow
@pytest.mark.parametrize(
  'command',
  [
    *(pytest.param(one, marks=pytest.mark.unoptimized) for one in RESTARTS),
    'corrupt.py --samples 160',
    'crash_points.py --every 14',
    'restore_bytes.py --layers 1 --processes 2',
    'save_pause.py --layers 1 --rounds 1',
    'soak.py --steps 1000',
  ],
)
def test_benchmark_finds_no_fault(command):
  name, *options = shlex.split(command)
  result = subprocess.run(
    [sys.executable, str(FOLDER / name), *options],
    capture_output=True,
    text=True,
    timeout=900,
    env={**os.environ, 'PYTHONPATH': str(FOLDER.parents[1])},
  )
  assert result.returncode == 0, result.stdout + result.stderr
