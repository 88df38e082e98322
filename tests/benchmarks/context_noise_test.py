"""Drift of stories of both worlds is measured, and printed as a table."""

import importlib.util
import pathlib

import pytest

SCRIPT = pathlib.Path(__file__).parents[2] / 'benchmarks/context_noise.py'


@pytest.mark.slow
@pytest.mark.parametrize(
  ('model', 'contexts'),
  [('lpc', ('frames',)), ('storyworld', ('frames', 'tokens'))],
)
def test_each_context_is_measured(capsys, model, contexts):
  spec = importlib.util.spec_from_file_location('benchmarks_context', SCRIPT)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  words = f'--models {model} --scenes 2 --stories 1 --contexts'
  module.main([*words.split(), *contexts])
  rows = capsys.readouterr().out.strip().splitlines()[-len(contexts) :]
  name = module.load(model).name
  assert [row.split(' | ')[:3] for row in rows] == [
    [f'| {name}', context, '2'] for context in contexts
  ]
  shares = [float(one) for row in rows for one in row.split(' | ')[3:7]]
  assert all(0 <= share <= 1 for share in shares)
