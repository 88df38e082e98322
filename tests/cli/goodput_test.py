"""`phenaki goodput` of a run directory."""

import json

from PIL import Image

from phenaki_jax.cli import main as main_lib


def test_table_and_figure(tmp_path, capfd):
  folder = tmp_path / 'events'
  folder.mkdir()
  events = [
    {'time': 10, 'event': 'start', 'step': 0},
    {'time': 20, 'event': 'compile', 'step': 1},
    {'time': 40, 'event': 'steps', 'first': 1, 'last': 9, 'wait': 0},
  ]
  (folder / '0001.jsonl').write_text('\n'.join(map(json.dumps, events)))
  out = tmp_path / 'figure.png'
  assert main_lib.main(['goodput', str(tmp_path), '--out', str(out)]) == 0
  said = capfd.readouterr().out
  assert 'Goodput 0.667 of 30.0 s: 9 steps' in said
  assert said.endswith(f'{out}\n')
  assert Image.open(out).size[0] == 1000


def test_a_folder_that_is_no_run_is_refused(tmp_path, capfd):
  assert main_lib.main(['goodput', str(tmp_path)]) == 2
  assert 'holds no events' in capfd.readouterr().err


def test_another_format_is_refused_before_anything_is_read(tmp_path, capfd):
  argv = ['goodput', str(tmp_path), '--out', 'figure.jpg']
  assert main_lib.main(argv) == 2
  assert 'figure.jpg must end in .png' in capfd.readouterr().err
