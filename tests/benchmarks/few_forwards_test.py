"""The tables of distilled, noisy and rounded models, by a small model."""

import pathlib
import sys

import pytest

from phenaki_jax.errors import UserError

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / 'benchmarks'))

import context_noise  # noqa: E402
import few_forwards  # noqa: E402
import weights  # noqa: E402


def test_every_model_has_a_row_for_each_number_of_steps(tiny_bundle, capsys):
  place = str(tiny_bundle)
  few_forwards.main(
    [
      *('--teacher', place, '--students', place),
      *('--steps', '1', '2', '--prompts', '2'),
    ]
  )
  table = capsys.readouterr().out.split('\n\n')[0].splitlines()
  lines = [line for line in table if line.startswith('| tiny')]
  # With guidance, a step takes two forward passes.
  assert [line.split(' | ')[1:4] for line in lines] == [
    ['3', '1', '2'],
    ['3', '2', '4'],
  ] * 2


def test_settings_of_all_models_are_replaced(tiny_bundle, capsys):
  call = ['--teacher', str(tiny_bundle), '--steps', '2', '--prompts', '2']
  call += ['--order', 'halton', '--schedule', 'linear', '--guidance', '0']
  few_forwards.main(call)
  (line,) = [
    line
    for line in capsys.readouterr().out.splitlines()
    if line.startswith('| tiny')
  ]
  assert line.split(' | ')[1:4] == ['0', '2', '2']
  with pytest.raises(UserError, match='order'):
    few_forwards.main([*call, '--order', 'sideways'])


def test_drift_is_measured_over_the_scenes(tiny_bundle, capsys):
  context_noise.main(
    [
      *('--models', str(tiny_bundle), '--scenes', '2', '--stories', '1'),
      *('--contexts', 'frames', 'tokens'),
    ]
  )
  lines = [
    line.strip('| ').split(' | ')
    for line in capsys.readouterr().out.splitlines()
    if line.startswith('| tiny')
  ]
  heads = [line[:3] for line in lines]
  assert heads == [['tiny', 'frames', '2'], ['tiny', 'tokens', '2']]
  for _, _, _, *numbers in lines:
    assert all(float(number) >= 0 for number in numbers if number != 'nan')


def test_every_dtype_of_weights_is_measured(tiny_bundle, capsys):
  weights.main(['--model', str(tiny_bundle), '--prompts', '1'])
  lines = capsys.readouterr().out.splitlines()[2:]
  rows = [line.strip('| ').split(' | ') for line in lines]
  assert [row[0] for row in rows] == ['float32', 'float16', 'int8']
  sizes = [float(row[1]) for row in rows]
  assert sizes == sorted(sizes, reverse=True)
