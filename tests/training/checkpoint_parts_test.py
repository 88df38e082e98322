"""Process 0 gets what all processes say, and names those that are late."""

import os
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from etils import epath

from phenaki_jax.training import checkpoint_parts
from phenaki_jax.training.checkpoint_files import small_files
from phenaki_jax.training.checkpoints import Checkpoints
from phenaki_jax.training.state import TrainState

PROGRAM = """
import sys, jax
from etils import epath
from phenaki_jax.training import checkpoint_parts as parts
from phenaki_jax.training.checkpoint_files import CheckpointError
from phenaki_jax.training.checkpoint_sums import exchange
folder, address, index = epath.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
jax.distributed.initialize(address, 2, index)
try:
  if index == 0:
    assert parts.missing(folder) == [1]
    parts.gather(folder, 'early', patience=0.3)
except CheckpointError as error:
  print(error)
assert exchange({'of': index}) == [{'of': 0}, {'of': 1}]
told = parts.gather(folder, ['own', index], patience=60.0)
assert told == ([['own', 0], ['own', 1]] if index == 0 else [])
if index == 0:
  assert parts.missing(folder) == []
  parts.delete(folder)
exchange('done')
"""


def test_one_process_waits_for_nobody(tmp_path):
  folder = epath.Path(tmp_path)
  assert checkpoint_parts.missing(folder) == []
  assert checkpoint_parts.gather(folder, {'a': 1}) == [{'a': 1}]
  assert not list(tmp_path.iterdir())


def test_parts_do_not_touch_the_checkpoint(tmp_path, monkeypatch):
  """Its files are digested by process 0 while the others write their parts."""
  folder = epath.Path(tmp_path) / 'checkpoints' / '7'
  folder.mkdir(parents=True)
  (folder / 'small').write_text('x')
  before = os.stat(folder).st_mtime_ns
  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  monkeypatch.setattr(jax, 'process_index', lambda: 1)
  assert checkpoint_parts.gather(folder, 'of 1') == []
  monkeypatch.setattr(jax, 'process_index', lambda: 0)
  assert checkpoint_parts.gather(folder, 'of 0') == ['of 0', 'of 1']
  assert list(small_files(folder)) == ['small']
  checkpoint_parts.delete(folder)
  assert checkpoint_parts.missing(folder) == [1]
  # Not even a temporary file was in it.
  assert os.stat(folder).st_mtime_ns == before


def test_a_part_of_a_killed_save_is_forgotten(tmp_path, monkeypatch):
  folder = epath.Path(tmp_path) / 'checkpoints' / '7'
  folder.mkdir(parents=True)
  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  monkeypatch.setattr(jax, 'process_index', lambda: 1)
  checkpoint_parts.gather(folder, 'stale')
  monkeypatch.setattr(jax, 'process_index', lambda: 0)
  assert checkpoint_parts.missing(folder) == []
  checkpoint_parts.forget(folder.parent)
  assert checkpoint_parts.missing(folder) == [1]


def test_an_exception_does_not_wait_for_other_processes(
  tmp_path, monkeypatch, caplog
):
  """They may be waiting for this process, which therefore ends first."""
  monkeypatch.setattr(checkpoint_parts, 'missing', lambda folder: [1])
  monkeypatch.setattr(checkpoint_parts, 'SHORT_PATIENCE', 0.1)
  tree = {'kernel': jnp.ones(2)}
  state = TrainState(step=jnp.int32(3), params=tree, ema=tree, opt_state=tree)
  checkpoints = Checkpoints(tmp_path, keep=2, config={}, identity={})
  with pytest.raises(OSError, match='the loader'), checkpoints:
    checkpoints.save(3, state, {})
    raise OSError('the loader failed')
  assert 'process 1 did not save its part within 0.1 seconds' in caplog.text
  assert not (tmp_path / 'checkpoints/3/manifest.json').exists()


@pytest.mark.slow
@pytest.mark.unoptimized
def test_late_processes_are_named(tmp_path):
  folder = tmp_path / 'checkpoints' / '7'
  folder.mkdir(parents=True)
  with socket.socket() as server:
    server.bind(('127.0.0.1', 0))
    address = f'127.0.0.1:{server.getsockname()[1]}'
  children = [
    subprocess.Popen(
      [sys.executable, '-c', PROGRAM, str(folder), address, str(index)],
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
      env={**os.environ, 'JAX_NUM_CPU_DEVICES': '1'},
    )
    for index in range(2)
  ]
  said = [child.communicate(timeout=300) for child in children]
  assert [child.returncode for child in children] == [0, 0], said
  assert 'Checkpoint 7 is not finished: process 1 did not save' in said[0][0]
  left = [path for path in tmp_path.rglob('*') if path.is_file()]
  assert not left
