"""`phenaki compile` as a user calls it; `runs/compile_test.py` compiles."""

import pathlib

from phenaki_jax.cli import main as main_lib

CONFIG = str(
  pathlib.Path(__file__).resolve().parents[2]
  / 'configs'
  / 'generator'
  / 'tiny.py'
)


def test_a_wrong_topology_is_one_sentence(capsys):
  argv = ['compile', '--config', CONFIG, '--topology', 'v4:big']
  assert main_lib.main(argv) == 2
  assert "the topology is 'v4:big'; give a TPU" in capsys.readouterr().err
