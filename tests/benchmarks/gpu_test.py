"""Checks and timings of an accelerator, on a CPU with tiny sizes."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

BENCHMARKS = pathlib.Path(__file__).resolve().parents[2] / 'benchmarks'
sys.path.insert(0, str(BENCHMARKS))

from accelerator import parts, table  # noqa: E402
from accelerator.rows import Row, error, measured  # noqa: E402
from accelerator.shapes import SHAPES  # noqa: E402

from phenaki_jax.planning import flops  # noqa: E402


def _run(*arguments):
  return subprocess.run(
    [sys.executable, str(BENCHMARKS / 'gpu.py'), *arguments],
    capture_output=True,
    text=True,
    env={**os.environ, 'JAX_PLATFORMS': 'cpu'},
  )


def _read(path):
  return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_error_is_relative_to_the_reference():
  found = {'a': np.array([3.0, 0.0]), 'b': np.array([[4.0]])}
  reference = {'a': np.array([3.0, 1.0]), 'b': np.array([[4.0]])}
  assert error(found, reference) == pytest.approx(1 / 26**0.5)
  assert error(reference, reference) == 0


def test_a_row_that_fails_says_why_and_nan_is_over():
  def broken():
    raise RuntimeError('no such kernel')

  rows = [
    *measured('a', 1e-4, broken),
    *measured('b', 1e-4, lambda: {'out': float('nan'), 'gradient': 1e-5}),
    *measured('c', 1e-4, lambda: 'needs a GPU'),
  ]
  assert [row.state for row in rows] == ['failed', 'over', 'ok', 'unsupported']
  text = table.of_rows([*rows, Row(name='doctor', note='found')])
  assert 'no such kernel' in text and '| b: gradient | 1.0e-05 |' in text
  assert text.endswith(
    '1 ok, 1 over, 1 failed, 1 unsupported\nFAILED: a\nFAILED: b: out'
  )


def test_the_table_says_what_is_extrapolated_and_what_is_missing():
  text = table.of_speed(
    [
      {'part': 'matmul', 'matmul_rate': 5e14, 'datasheet_rate': 1e15},
      {
        **{'part': 'train base', 'clips': 8, 'remat': 'full', 'fits': True},
        **{'parameters': 113_000_000, 'compile_s': 21.0},
      },
      {
        **{'part': 'train base', 'step_s': 0.1, 'tokens_per_s': 1e5},
        **{'rate': 4e14, 'peak_gib': 12.5},
      },
      {
        **{'part': 'sampler', 'story_steps': 24, 'wanted_frames': 1024},
        **{'made_frames': 500, 'made_s': 30.0, 'windows': 83},
        **{'window_s': 0.36, 'of_all_windows_s': 61.2},
      },
      {'part': 'train paper_0p9b', 'left_out': '10 s were left'},
    ]
  )
  assert '| base | 113M | 8 | full | 0.1000 s | 100,000 | 400 TFLOP/s ' in text
  assert '| 80.0% | 40.0% | 12.5 | 21 s |' in text
  assert 'NOT ALL: 1,024 would take 61.2 s (extrapolated' in text
  assert 'train paper_0p9b: left out: 10 s were left' in text


def test_the_sizes_are_those_of_the_paper():
  full = SHAPES['full']()
  assert set(full.clips) == set(full.generators)
  assert {part.name.removeprefix('train ') for part in parts.PARTS} == {
    *('matmul', 'sampler', *full.generators)
  }
  large = full.generators['paper_1p8b']
  assert (large.width, large.num_layers, large.text_width) == (2048, 24, 4096)
  assert large.codebook_size == full.tokenizer.codebook_size
  assert full.tokenizer.grid(11, full.size) == large.grid
  work = flops.generator(
    large, batch=1, text_length=128, text_width=4096, learned_text=False
  )
  assert 12e12 < work.training < 17e12


def test_a_part_without_time_is_left_out(tmp_path):
  found = []
  with (tmp_path / 'log').open('w') as log:
    parts.run(
      parts.PARTS[:1], size='tiny', minutes=0.01, write=found.append, log=log
    )
  assert [one['part'] for one in found] == ['matmul']
  assert 'it needs 15' in found[0]['left_out']


@pytest.mark.slow
@pytest.mark.unoptimized
def test_every_part_runs_on_a_cpu(tmp_path):
  done = _run('speed', '--size', 'tiny', '--minutes', '9', '--out', tmp_path)
  assert done.returncode == 0, (
    done.stdout + (tmp_path / 'speed.log').read_text()
  )
  results = _read(tmp_path / 'speed.jsonl')
  steps = [one for one in results if 'step_s' in one]
  assert len(steps) == 3 and all(one['nonfinite'] == 0 for one in steps)
  stories = [one for one in results if 'story_steps' in one]
  assert [one['made_frames'] for one in stories] == [12, 12]
  assert 'NOT ALL' not in (tmp_path / 'speed.md').read_text()
  assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.slow
@pytest.mark.unoptimized
def test_every_comparison_runs_on_a_cpu(tmp_path):
  options = ('--size', 'tiny', '--seconds', '500', '--out', tmp_path)
  done = _run('check', *options)
  assert done.returncode == 0, done.stdout + done.stderr
  rows = _read(tmp_path / 'check.jsonl')[1:]
  states = {row['state'] for row in rows if row['limit']}
  assert states == {'ok', 'unsupported'}
  unsupported = {r['name'] for r in rows if r['state'] == 'unsupported'}
  assert all('attention cudnn' in name for name in unsupported)
  assert len(unsupported) == 12
