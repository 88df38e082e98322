"""`phenaki ablate` lists, renders, runs and reports a sweep."""

import csv
import json
import pathlib
import shlex
import subprocess
import sys

import pytest

from phenaki_jax import config as config_lib
from phenaki_jax.cli.main import main
from phenaki_jax.runs import experiment as experiment_lib
from phenaki_jax.runs.ablate import launch_process

ROOT = pathlib.Path(__file__).resolve().parents[2]
TINY_TOKENIZER = [
  *('data.size=16,16', 'data.frames=5', 'data.context_frames=3'),
  *('data.batch_size=16', 'data.image_share=0.5', 'train.steps=2'),
  *('tokenizer.width=16', 'tokenizer.num_heads=2', 'tokenizer.mlp_dim=32'),
  *('tokenizer.spatial_layers=1', 'tokenizer.temporal_layers=1'),
]
TINY_GENERATOR = [
  *('generator.width=16', 'generator.num_layers=1', 'generator.num_heads=2'),
  *('generator.mlp_dim=32', 'text.width=16', 'text.num_layers=1'),
  *('text.num_heads=2', 'text.head_dim=8', 'text.mlp_dim=32'),
  'sampling.steps=2',
]
SWEEP = f"""
def get_sweep(arg=''):
  for label, share in (('100/0', 0.0), ('50/50', 0.5)):
    yield {{
      'config': '{ROOT}/configs/generator/tiny.py',
      'label': label,
      'match': 'tokens',
      'data.image_share': share,
      'data.size': [16, 16],
      'data.frames': 5,
      'data.context_frames': 3,
      'data.batch_size': 24,
      'task.prediction_frames': 3,
      'train.steps': 2,
      'evaluate.prompts': 4,
      'evaluate.stories': 0,
      'evaluate.changes': 0,
      'evaluate.reconstructions': 0,
      'evaluate.frechet': True,
    }}
"""


def _sets(overrides):
  return [part for text in overrides for part in ('--set', text)]


@pytest.fixture(scope='module')
def call(tmp_path_factory):
  """Return a function that makes the arguments of a sweep into a folder."""
  folder = tmp_path_factory.mktemp('sweep')
  trained = experiment_lib.resolve(
    f'{ROOT}/configs/tokenizer/tiny.py', TINY_TOKENIZER
  )
  # A checkpoint is looked for, and read by training alone.
  checkpoint = folder / 'tokenizer' / 'checkpoints' / '2'
  checkpoint.mkdir(parents=True)
  (checkpoint / 'manifest.json').write_text('{}')
  (folder / 'tokenizer' / experiment_lib.CONFIG_FILE).write_text(
    config_lib.to_json(trained)
  )
  path = folder / 'plain.py'
  path.write_text(SWEEP.replace("'evaluate.frechet': True,", ''))
  return lambda out: [
    *('ablate', str(path), '--out', str(out), '--seeds', '2'),
    *('--set', f'tokenizer_dir={folder / "tokenizer"}'),
  ]


def test_dry_run_lists_the_units_and_writes_nothing(call, tmp_path, capsys):
  assert main([*call(tmp_path / 'out'), '--dry-run']) == 0
  lines = capsys.readouterr().out.splitlines()
  assert [line.split(' | ')[0] for line in lines[2:]] == [
    *('| 100/0', '| 50/50', '| 100/0', '| 50/50')
  ]
  assert not (tmp_path / 'out').exists()


def test_render_prints_one_command_per_unit(call, tmp_path, capfd):
  argv = call(tmp_path / 'out')
  assert main([*argv, '--render']) == 0
  tokens, *units = capfd.readouterr().out.splitlines()
  assert tokens.startswith('phenaki encode --tokens ')
  assert len(units) == 4 and len(set(units)) == 4
  # Each is what a launcher takes after `--`.
  _, *words = shlex.split(units[1])
  launcher = [sys.executable, f'{ROOT}/launch/slurm.py', '--dry-run']
  script = subprocess.run(
    [*launcher, '--name', 'unit', '--', *words], capture_output=True, text=True
  ).stdout
  (command,) = [line for line in script.splitlines() if ' srun ' in line]
  assert shlex.split(command)[-len(words) - 2 :] == [
    '-m',
    'phenaki_jax',
    *words,
  ]
  assert not (tmp_path / 'out').exists()
  # Not before the tokens are there.
  assert main(words) == 2
  assert f'run this first: {tokens}' in capfd.readouterr().err
  assert main([*argv, '--unit', 'none']) == 2
  assert 'has no unit none with these --set' in capfd.readouterr().err
  assert not (tmp_path / 'out').exists()


def test_report_says_what_is_missing_and_starts_nothing(call, tmp_path, capsys):
  assert main([*call(tmp_path / 'out'), '--report']) == 0
  assert str(tmp_path / 'out' / 'report.html') in capsys.readouterr().out
  text = (tmp_path / 'out' / 'report.md').read_text()
  assert '0 of 4 units are finished' in text


def test_a_report_needs_matplotlib(call, tmp_path, capfd, monkeypatch):
  monkeypatch.setitem(sys.modules, 'matplotlib', None)
  assert main([*call(tmp_path / 'out'), '--report']) == 2
  assert 'the report needs matplotlib; run: pip' in capfd.readouterr().err
  assert main([*call(tmp_path / 'out'), '--dry-run']) == 0
  assert not (tmp_path / 'out').exists()


def test_a_wrong_unit_ends_in_one_sentence(call, tmp_path, capfd):
  argv = [*call(tmp_path / 'out'), '--dry-run']
  assert main([*argv, '--set', 'data.fps=0']) == 2
  err = capfd.readouterr().err
  assert err.startswith('phenaki ablate: entry 1 of ') and 'data.fps' in err
  assert err.count('\n') == 1
  assert not (tmp_path / 'out').exists()


@pytest.mark.slow
@pytest.mark.unoptimized
def test_a_sweep_runs_from_the_tokenizer_to_the_report(
  tmp_path, monkeypatch, capsys, compiled_once
):
  for name, value in {'PYTHONPATH': str(ROOT), **compiled_once}.items():
    monkeypatch.setenv(name, value)
  tokenizer, out = tmp_path / 'tokenizer', tmp_path / 'out'
  config = f'{ROOT}/configs/tokenizer/tiny.py'
  argv = ['train', '--config', config, '--workdir', str(tokenizer)]
  assert main([*argv, *_sets(TINY_TOKENIZER)]) == 0
  path = tmp_path / 'small.py'
  path.write_text(SWEEP)
  call = ['ablate', str(path), '--out', str(out), '--seeds', '1']
  call += _sets([f'tokenizer_dir={tokenizer}', *TINY_GENERATOR])
  call += ['--cached', '64']
  # The first unit as a job of its own, then the others.
  capsys.readouterr()
  assert main([*call, '--render']) == 0
  tokens, unit, _ = capsys.readouterr().out.splitlines()
  # In a process of its own, as this one has eight devices.
  assert launch_process(shlex.split(tokens)[1:]) == 0
  assert main(shlex.split(unit)[1:]) == 0
  assert main(call) == 0

  rows = list(csv.DictReader((out / 'units.csv').read_text().splitlines()))
  assert [row['state'] for row in rows] == ['finished', 'finished']
  for row in rows:
    assert float(row['frechet.distances.frames']) > 0
    assert float(row['frechet.vectors.frames.0']) == 4 * 5
    assert float(row['clips.facts.colour.asked']) == 4
    assert float(row['heldout/loss_clips']) > 0
    metrics = out / 'units' / row['name'] / 'run' / 'metrics.jsonl'
    lines = map(json.loads, metrics.read_text().splitlines())
    logged = [line for line in lines if 'train/loss' in line]
    # What the loop counted is what the table says.
    assert logged[-1]['train/tokens_seen'] == float(row['tokens'])
    assert logged[-1]['train/image_share'] == float(row['of examples'])
    share = float(row['of tokens'])
    assert logged[-1]['train/image_token_share'] == pytest.approx(share)
  # Matched tokens: 2 steps of 24 clips, 3 steps of 12 clips and 12 images.
  assert [row['steps'] for row in rows] == ['2', '3']
  page = (out / 'report.html').read_text()
  assert page.count('src="data:image/png') == 2 + 2
  assert 'missing' not in page.partition('</style>')[2]
  # A unit without images has no loss on images.
  table = (out / 'report.md').read_text().splitlines()
  rows = [line for line in table if line.startswith(('| 100/0', '| 50/50'))]
  assert [line.endswith('| - |') for line in rows] == [*(True, False)]

  # Nothing is left to run: no process is started, and it takes no time.
  before = {path: path.stat().st_mtime_ns for path in out.rglob('*/run/*')}
  assert main(call) == 0
  after = {path: path.stat().st_mtime_ns for path in out.rglob('*/run/*')}
  assert before == after
