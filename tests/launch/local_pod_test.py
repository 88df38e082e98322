"""local_pod.py: several processes train a model like one process."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from phenaki_jax.runs import goodput

ROOT = pathlib.Path(__file__).resolve().parents[2]
POD = ROOT / 'launch' / 'local_pod.py'
STEPS = 8
TRAIN = [
  *('train', '--config', 'configs/tokenizer/tiny.py'),
  *('--set', 'data.size=16,16', '--set', 'data.frames=5'),
  *('--set', 'data.context_frames=3', '--set', 'data.batch_size=8'),
  *('--set', 'data.image_share=0.25', '--set', f'train.steps={STEPS}'),
  *('--set', 'train.checkpoint_every=2'),
  *('--set', 'train.log_every=1', '--set', 'tokenizer.width=16'),
  *('--set', 'tokenizer.num_heads=2', '--set', 'tokenizer.mlp_dim=32'),
  *('--set', 'tokenizer.spatial_layers=1'),
  *('--set', 'tokenizer.temporal_layers=1'),
]


def _pod(*argv):
  return subprocess.run(
    [sys.executable, str(POD), *map(str, argv)],
    cwd=ROOT,
    stdin=subprocess.DEVNULL,
    capture_output=True,
    text=True,
  )


def test_dry_run_prints_one_line_for_each_process():
  done = _pod('--dry-run', '--processes', 3, '--', 'train', '--config', 'a b')
  lines = done.stdout.splitlines()
  assert done.returncode == 0
  assert len(lines) == 3
  for index, line in enumerate(lines):
    assert f'PHENAKI_PROCESS_INDEX={index} ' in line
    assert line.endswith("-m phenaki_jax train --config 'a b'")


def test_zero_processes_is_an_error():
  done = _pod('--processes', 0, '--', 'train')
  assert done.returncode == 2
  assert 'must be at least 1' in done.stderr


def test_pod_fails_when_a_process_fails():
  done = _pod('--processes', 2, '--', 'trian')
  assert done.returncode == 2
  assert "invalid choice: 'trian'" in done.stderr


@pytest.mark.slow
@pytest.mark.unoptimized
def test_two_processes_train_like_one_although_one_is_killed(tmp_path):
  records = {}
  for processes in (1, 2):
    workdir = tmp_path / f'{processes}'
    # The total number of devices is the same; only processes differ.
    pod = subprocess.Popen(
      [sys.executable, str(POD), f'--processes={processes}', '--retries=1']
      + [f'--devices={2 // processes}', '--', *TRAIN, '--workdir', workdir],
      cwd=ROOT,
      stdin=subprocess.DEVNULL,
      stderr=subprocess.PIPE,
      text=True,
    )
    if processes == 2:
      _kill_the_last_process(pod, workdir / 'checkpoints/2/manifest.json')
    _, said = pod.communicate(timeout=900)
    assert pod.returncode == 0, said
    lines = (workdir / 'metrics.jsonl').read_text().splitlines()
    records[processes] = [
      record
      for record in map(json.loads, lines)
      if 'train/loss' in record or 'heldout/loss' in record
    ]
  assert 'code 137; retry 1 of 1' in said
  assert 'Resuming' in said
  # Every step once, and the held-out loss after the last.
  steps = [record['step'] for record in records[2]]
  assert steps == [*range(1, STEPS + 1), STEPS]
  names = {'train/loss', 'train/l2', 'train/gradient_norm', 'heldout/loss'}
  # Rounding differs, and grows from step to step.
  for one, two in list(zip(records[1], records[2], strict=True))[:3]:
    assert names & one.keys() == names & two.keys() != set()
    for name in names & one.keys():
      np.testing.assert_allclose(one[name], two[name], rtol=1e-5)
  found = goodput.measure(goodput.read(tmp_path / '2'))
  assert (found.starts, found.steps, found.preempted) == (2, STEPS, 0)
  first, second = goodput.read(tmp_path / '2')
  assert first[0]['devices']['processes'] == second[0]['devices']['processes']
  assert first[0]['devices']['processes'] == 2
  assert (second[-1]['event'], second[-1]['code']) == ('stop', 0)
  for path in (tmp_path / '2/events').iterdir():
    assert str(tmp_path) not in path.read_text()


def _kill_the_last_process(pod, after):
  """Kill a process of a pod once a file exists."""
  limit = time.monotonic() + 600
  while not after.exists():
    assert time.monotonic() < limit and pod.poll() is None
    time.sleep(0.02)
  children = pathlib.Path(f'/proc/{pod.pid}/task/{pod.pid}/children')
  os.kill(int(children.read_text().split()[-1]), signal.SIGKILL)
