"""Processes on loopback train like one, and stop together."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import pytest
import toy

PROGRAM = pathlib.Path(__file__).with_name('worker.py')
LIMIT = 900  # seconds; no test waits indefinitely


def _free_port():
  with socket.socket() as server:
    server.bind(('127.0.0.1', 0))
    return server.getsockname()[1]


def _run(folder, count, **options):
  """Run some processes; return their exit codes and their messages."""
  address = f'127.0.0.1:{_free_port()}'
  processes = []
  for index in range(count):
    command = [sys.executable, str(PROGRAM), str(folder)]
    command += [f'--address={address}', f'--index={index}', f'--count={count}']
    # Only the last process is asked to stop; the others must learn of it.
    if index == count - 1:
      command += [f'--{name}={value}' for name, value in options.items()]
    root = str(PROGRAM.parents[2])
    processes.append(
      subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, 'PYTHONPATH': root, 'JAX_NUM_CPU_DEVICES': '1'},
      )
    )
  try:
    texts = [p.communicate(timeout=LIMIT)[1] for p in processes]
  finally:
    for process in processes:
      process.kill()
      process.communicate()
  return [process.returncode for process in processes], '\n'.join(texts)


def _losses(folder):
  return {r['step']: r['train/loss'] for r in toy.records(folder)}


def _manifest(folder):
  return json.loads((folder / 'checkpoints/8/manifest.json').read_text())


@pytest.fixture(scope='module')
def single(tmp_path_factory):
  folder = tmp_path_factory.mktemp('single')
  codes, text = _run(folder, 1)
  assert codes == [0], text
  return folder


@pytest.mark.slow
@pytest.mark.unoptimized
@pytest.mark.parametrize('count', [2, 4])
def test_processes_train_like_one(tmp_path, single, count):
  codes, text = _run(tmp_path, count)
  assert codes == [0] * count, text
  losses = _losses(tmp_path)
  assert list(losses) == [2, 4, 6, 8]
  assert losses == pytest.approx(_losses(single), abs=1e-5)
  shapes = [
    {path: entry['shape'] for path, entry in _manifest(f)['arrays'].items()}
    for f in (tmp_path, single)
  ]
  assert shapes[0] == shapes[1]


@pytest.mark.slow
@pytest.mark.unoptimized
def test_two_processes_stop_together_and_resume(tmp_path, single):
  codes, text = _run(tmp_path, 2, stop_at=4)
  assert codes == [75, 75], text
  # They agree when they log: after step 6.
  assert 'saved after step 6 of 8' in text
  codes, text = _run(tmp_path, 2, stop_at=6)
  assert codes == [0, 0], text
  assert 'after step 6.' in text
  assert _losses(tmp_path) == pytest.approx(_losses(single), abs=1e-5)


@pytest.mark.slow
@pytest.mark.unoptimized
def test_one_process_resumes_a_run_of_two(tmp_path, single):
  codes, text = _run(tmp_path, 2, stop_at=2)
  assert codes == [75, 75], text
  codes, text = _run(tmp_path, 1)
  assert codes == [0], text
  assert 'after step 4.' in text
  assert _losses(tmp_path) == pytest.approx(_losses(single), abs=1e-5)
