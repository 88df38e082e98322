"""`phenaki plan` as a user calls it."""

import json
import pathlib

from phenaki_jax.cli import main as main_lib

CONFIG = str(
  pathlib.Path(__file__).resolve().parents[2]
  / 'configs'
  / 'generator'
  / 'tiny.py'
)


def test_a_plan_is_printed_as_text_and_as_json(capsys):
  assert main_lib.main(['plan', '--config', CONFIG]) == 0
  assert 'days on 1 v5p at 40% MFU' in capsys.readouterr().out
  argv = ['plan', '--config', CONFIG, '--chip', 'v4', '--mfu', '0.5', '--json']
  assert main_lib.main(argv) == 0
  found = json.loads(capsys.readouterr().out)
  assert (found['chip'], found['mfu'], found['clips']) == ('v4', 0.5, 15)


def test_no_use_of_the_chips_is_refused(capsys):
  assert main_lib.main(['plan', '--config', CONFIG, '--mfu', '0']) == 2
  assert '--mfu is 0; give a share above 0' in capsys.readouterr().err
