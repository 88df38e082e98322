"""local_pod.py: several processes train a model like one process."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
POD = ROOT / 'launch' / 'local_pod.py'
TRAIN = [
  *('train', '--config', 'configs/tokenizer/tiny.py'),
  *('--set', 'data.size=16,16', '--set', 'data.frames=5'),
  *('--set', 'data.context_frames=3', '--set', 'data.batch_size=8'),
  *('--set', 'data.image_share=0.25', '--set', 'train.steps=3'),
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
def test_two_processes_train_like_one(tmp_path):
  records = {}
  for processes in (1, 2):
    workdir = tmp_path / f'{processes}'
    # The total number of devices is the same; only processes differ.
    devices = 2 // processes
    done = _pod(
      *('--processes', processes, '--devices', devices, '--'),
      *(*TRAIN, '--workdir', workdir),
    )
    assert done.returncode == 0, done.stderr
    lines = (workdir / 'metrics.jsonl').read_text().splitlines()
    records[processes] = [
      record
      for record in map(json.loads, lines)
      if 'train/loss' in record or 'heldout/loss' in record
    ]
  # Three steps, and the held-out loss after the last step.
  assert [record['step'] for record in records[2]] == [1, 2, 3, 3]
  names = ('train/loss', 'train/l2', 'train/gradient_norm', 'heldout/loss')
  for one, two in zip(records[1], records[2], strict=True):
    assert one.keys() == two.keys()
    for name in set(names) & one.keys():
      np.testing.assert_allclose(one[name], two[name], rtol=1e-5)
