"""Drift of a story of the sprite world is measured, and printed as a table."""

import importlib.util
import pathlib

import pytest

SCRIPT = pathlib.Path(__file__).parents[2] / 'benchmarks/context_noise.py'


@pytest.mark.slow
def test_both_contexts_are_measured(capsys):
  spec = importlib.util.spec_from_file_location('benchmarks_context', SCRIPT)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  words = '--models lpc --scenes 2 --stories 1 --contexts frames tokens'
  module.main(words.split())
  rows = capsys.readouterr().out.strip().splitlines()[-2:]
  assert [row.split(' | ')[:3] for row in rows] == [
    ['| lpc', 'frames', '2'],
    ['| lpc', 'tokens', '2'],
  ]
  shares = [float(one) for row in rows for one in row.split(' | ')[3:7]]
  assert all(0 <= share <= 1 for share in shares)
