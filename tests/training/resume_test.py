"""Killed processes: a resumed run equals the uninterrupted one."""

import os
import pathlib
import re
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
import toy

from phenaki_jax.training.checkpoints import load_params

STEPS = 14
PROGRAM = pathlib.Path(toy.__file__)


def _start(folder, *options):
  return subprocess.Popen(
    [
      sys.executable,
      str(PROGRAM),
      str(folder),
      '--steps',
      str(STEPS),
      *options,
    ],
    stderr=subprocess.PIPE,
    text=True,
    cwd=PROGRAM.parents[2],
    env={**os.environ, 'PYTHONPATH': str(PROGRAM.parents[2])},
  )


def _run(folder, *options):
  process = _start(folder, *options)
  _, text = process.communicate(timeout=300)
  return process.returncode, text


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory):
  folder = tmp_path_factory.mktemp('uninterrupted')
  code, text = _run(folder)
  assert code == 0, text
  return folder


def _assert_same_run(folder, uninterrupted, *, but_samples=False):
  # All arrays, Adam's too, and the window of metrics.
  assert toy.content(folder, STEPS) == toy.content(uninterrupted, STEPS)
  one, two = toy.records(folder), toy.records(uninterrupted)
  if but_samples:
    # A signal comes before the samples of its step.
    one, two = ([r for r in x if 'train/loss' in r] for x in (one, two))
  assert one == two
  one, two = load_params(folder), load_params(uninterrupted)
  jax.tree.map(np.testing.assert_array_equal, one.params, two.params)
  assert not [p for p in folder.rglob('*tmp*') if p.is_dir()]


def test_a_killed_and_resumed_run_equals_an_uninterrupted_run(
  tmp_path, uninterrupted
):
  # The save of step 8 waits for that of step 4, and may itself be unfinished.
  code, _ = _run(tmp_path, '--at', '9')
  assert code == -signal.SIGKILL
  code, text = _run(tmp_path)
  assert code == 0, text
  assert re.search(r'after step [48]\.', text), text
  _assert_same_run(tmp_path, uninterrupted)


@pytest.mark.slow
@pytest.mark.unoptimized
def test_a_run_stopped_many_times_equals_an_uninterrupted_run(
  tmp_path, uninterrupted
):
  stops = [
    # Before the first step, between steps, in an evaluator; and politely.
    (('--at', '0'), -signal.SIGKILL),
    (('--at', '3'), -signal.SIGKILL),
    (('--at', '2', '--signal', 'SIGTERM'), 75),
    (('--at', '6', '--where', 'evaluator'), -signal.SIGKILL),
    (('--at', '8', '--signal', 'SIGINT'), 75),
    (('--at', '12', '--where', 'evaluator', '--signal', 'SIGTERM'), 75),
    ((), 0),
  ]
  for options, expected in stops:
    code, text = _run(tmp_path, *options)
    assert code == expected, text
  _assert_same_run(tmp_path, uninterrupted, but_samples=True)
