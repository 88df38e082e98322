"""Every command as a program: what it writes, prints and imports."""

import argparse
import importlib
import json
import pathlib
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib

import pytest

from phenaki_jax.cli import main as main_lib

ROOT = pathlib.Path(__file__).resolve().parents[1]

# Runs the command line, then prints on standard error what it has imported.
PROBE = """
import sys
from phenaki_jax.cli.main import main
try:
  code = main(sys.argv[1:])
except SystemExit as stopped:
  code = stopped.code
names = {name.partition('.')[0] for name in sys.modules}
print('loaded:', *sorted(names), file=sys.stderr)
sys.exit(code)
"""

TINY = [
  *('data.size=16,16', 'data.frames=5', 'data.context_frames=3'),
  *('data.batch_size=4', 'data.image_share=0.25', 'train.steps=2'),
]
TINY_TOKENIZER = [
  *TINY,
  *('tokenizer.width=16', 'tokenizer.num_heads=2', 'tokenizer.mlp_dim=32'),
  *('tokenizer.spatial_layers=1', 'tokenizer.temporal_layers=1'),
]
TINY_GENERATOR = [
  *TINY,
  *('generator.width=16', 'generator.num_heads=2', 'generator.mlp_dim=32'),
  *('generator.num_layers=1', 'text.width=16', 'text.num_layers=1'),
  'task.prediction_frames=3',
]


def _run(*argv, check=True):
  done = subprocess.run(
    [sys.executable, '-c', PROBE, *map(str, argv)],
    cwd=ROOT,
    stdin=subprocess.DEVNULL,
    capture_output=True,
    text=True,
  )
  assert not check or done.returncode == 0, done.stderr
  loaded = set(done.stderr.rpartition('loaded:')[2].split())
  return done, loaded


def _sets(overrides):
  return [part for text in overrides for part in ('--set', text)]


def test_import_of_the_package_loads_neither_jax_nor_numpy():
  code = (
    'import sys, phenaki_jax\n'
    'print(*{name.partition(".")[0] for name in sys.modules})'
  )
  done = subprocess.run(
    [sys.executable, '-c', code],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  loaded = set(done.stdout.split())
  assert 'phenaki_jax' in loaded
  assert not loaded & {'tensorflow', 'jax', 'numpy'}


@pytest.mark.parametrize('command', [None, *main_lib.COMMANDS])
def test_help_imports_no_heavy_package(command):
  done, loaded = _run(*filter(None, [command]), '--help')
  assert done.stdout.startswith('usage: phenaki')
  assert 'phenaki_jax' in loaded
  assert not loaded & {'tensorflow', 'jax', 'flax', 'orbax', 'grain'}


@pytest.mark.parametrize(
  ('call', 'words'),
  [
    ('story absent.yaml --out a.mp4', 'no story file absent.yaml'),
    ('story --prompt x --out a.gif', '--out is a.gif; it must end in .mp4'),
    ('story --prompt x --out a.mp4 --order none', 'order must be one of'),
    ('story --prompt x --out a.mp4 --source b.png', 'no image or clip b.png'),
    ('story --prompt x --out a.mp4 --character b.png', 'no image or clip b'),
    ('edit continue b.mp4 --prompt x --out a.mp4', 'no image or clip b.mp4'),
    ('edit continue README.md --prompt x --out a.gif', '--out is a.gif'),
    ('edit restyle README.md --content b.png --out a.mp4', 'or clip b.png'),
    ('edit --structure README.md --content x --depth b --out a.mp4', 'clip b;'),
    (
      'edit restyle README.md --prompt x --depth b.safetensors --out a.mp4',
      'which does not exist; name the file of the weights of DPT',
    ),
    ('evaluate --out a --subset none', "unknown subset 'none'"),
    ('export --out a', 'a bundle is made of a run'),
    ('train --config absent.py --workdir a', 'no config file absent.py'),
  ],
)
def test_bad_arguments_are_refused_before_jax_is_imported(call, words):
  done, loaded = _run(*call.split(), check=False)
  assert done.returncode == 2 and 'usage:' not in done.stderr
  assert words in done.stderr
  assert not loaded & {'jax', 'flax', 'orbax'}


def test_module_runs_as_a_program():
  done = subprocess.run(
    [sys.executable, '-m', 'phenaki_jax', '--version'],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  assert re.fullmatch(r'\d+\.\d+\.\d+\n', done.stdout)


def test_console_script_is_the_command_line():
  project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
  module, _, name = project['scripts']['phenaki'].partition(':')
  assert getattr(importlib.import_module(module), name) is main_lib.main


def test_make_story_shows_a_film_before_it_trains():
  done = subprocess.run(
    ['make', '--dry-run', 'story', 'RUN=runs/x'],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  commands = re.findall(r'-m phenaki_jax (\w+)', done.stdout)
  assert commands == [
    *('story', 'train', 'train', 'story', 'evaluate', 'evaluate')
  ]
  first = done.stdout.partition('-m phenaki_jax train')[0]
  assert '--model storyworld --out runs/x/reference.mp4' in first


class _ParsedError(Exception):
  """The arguments were parsed, and the program need not go on."""


def test_benchmarks_of_make_bench_need_no_arguments(monkeypatch):
  done = subprocess.run(
    ['make', '--dry-run', 'bench'],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  files = re.findall(r'benchmarks/\w+\.py', done.stdout)
  others = {'benchmarks/edits.py', 'benchmarks/gpu.py'}
  assert {*files, *others} == {
    path.relative_to(ROOT).as_posix() for path in ROOT.glob('benchmarks/*.py')
  }
  parse = argparse.ArgumentParser.parse_args

  def stop(self, *_):
    parse(self, [])
    raise _ParsedError

  monkeypatch.setattr(argparse.ArgumentParser, 'parse_args', stop)
  for file in files:
    monkeypatch.setattr(sys, 'path', [str(ROOT / 'benchmarks'), *sys.path])
    with pytest.raises(_ParsedError):
      runpy.run_path(str(ROOT / file), run_name='__main__')


def _documents():
  for folder in ('.', 'docs', 'launch'):
    yield from (ROOT / folder).glob('*.md')
  for folder in ('configs', 'benchmarks'):
    yield from (ROOT / folder).rglob('*.py')


def _commands(text):
  """Find indented or fenced lines that call phenaki, continued ones joined.

  Variables that hold arguments are replaced by their last values.
  """
  text = text.replace('\\\n', ' ')
  found, values = [], {}
  for line in re.findall(
    r'^ *(?:\$ )?(phenaki (?! ).+|\w+=".+")$', text, re.MULTILINE
  ):
    if not line.startswith('phenaki '):
      name, _, value = line.partition('=')
      values[f'${name}'] = value.strip('"')
      continue
    for name, value in values.items():
      line = line.replace(name, value)
    found.append(shlex.split(line, comments=True)[1:])
  return found


@pytest.mark.parametrize('command', main_lib.COMMANDS)
def test_examples_of_a_command_parse(command):
  module = importlib.import_module(f'phenaki_jax.cli.{command}')
  examples = _commands(module.EXAMPLES)
  assert any(argv[0] == command for argv in examples)
  for argv in examples:
    main_lib.make_parser(argv).parse_args(argv)


@pytest.mark.parametrize(
  'path',
  sorted(_documents()),
  ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_commands_in_documents_parse(path):
  for argv in _commands(path.read_text()):
    main_lib.make_parser(argv).parse_args(argv)
    if '--config' in argv:
      config = argv[argv.index('--config') + 1]
      is_there = (ROOT / config.partition(':')[0]).is_file()
      assert is_there or config == 'FILE', config


@pytest.fixture(scope='module')
def trained(tmp_path_factory, compiled_once):
  """Train a tokenizer and a generator for two steps each."""
  with pytest.MonkeyPatch.context() as patch:
    for name, value in compiled_once.items():
      patch.setenv(name, value)
    yield _trained(tmp_path_factory.mktemp('runs'))


def _trained(folder):
  runs = (
    ('tokenizer', TINY_TOKENIZER),
    ('generator', [*TINY_GENERATOR, f'tokenizer_dir={folder / "tokenizer"}']),
  )
  following = {
    'tokenizer': 'train a generator',
    'generator': 'generate a story video',
  }
  for kind, overrides in runs:
    done, loaded = _run(
      *('train', '--config', f'configs/{kind}/tiny.py'),
      *('--workdir', folder / kind),
      *_sets(overrides),
    )
    assert f'Next, {following[kind]}' in done.stderr
    assert str(folder / kind) in done.stderr.rpartition('Next, ')[2]
    assert 'jax' in loaded
    assert 'tensorflow' not in loaded
  return folder


@pytest.mark.slow
@pytest.mark.unoptimized
def test_train_leaves_a_run_directory(trained):
  for kind in ('tokenizer', 'generator'):
    folder = trained / kind
    config = json.loads((folder / 'config.json').read_text())
    assert config['kind'] == kind
    lines = (folder / 'metrics.jsonl').read_text().splitlines()
    assert json.loads(lines[-1])['step'] == 2
    names = {name for line in lines for name in json.loads(line)}
    assert 'heldout/loss' in names
    assert ('heldout/unigram_loss' in names) == (kind == 'generator')
    assert (folder / 'checkpoints' / '2' / 'manifest.json').is_file()
    assert (folder / 'vocab.model').is_file() == (kind == 'generator')


@pytest.mark.slow
@pytest.mark.unoptimized
def test_train_resumes_where_it_stopped(trained):
  # A copy, because the generator belongs to the tokenizer as it is.
  workdir = trained / 'longer'
  shutil.copytree(trained / 'tokenizer', workdir)
  done, _ = _run(
    *('train', '--config', 'configs/tokenizer/tiny.py'),
    *('--workdir', workdir),
    *_sets([*TINY_TOKENIZER, 'train.steps=3']),
  )
  assert 'after step 2' in done.stderr
  assert (workdir / 'checkpoints' / '3').is_dir()


@pytest.mark.slow
@pytest.mark.unoptimized
def test_train_refuses_another_tokenizer_in_a_sentence(trained):
  done, _ = _run(
    *('train', '--config', 'configs/generator/tiny.py'),
    *('--workdir', trained / 'another'),
    *_sets(
      [
        *TINY_GENERATOR,
        f'tokenizer_dir={trained / "tokenizer"}',
        'generator.codebook_size=77',
      ]
    ),
    check=False,
  )
  assert done.returncode == 2
  assert 'generator.codebook_size is 77' in done.stderr
  assert 'Traceback' not in done.stderr
  assert not (trained / 'another').exists()


@pytest.mark.slow
@pytest.mark.unoptimized
def test_a_critic_is_trained_afterwards_and_orders_a_story(trained):
  workdir, out = trained / 'critic', trained / 'ordered.mp4'
  _run(
    *('train', '--config', 'configs/generator/tiny.py', '--workdir', workdir),
    *_sets(
      [
        *TINY_GENERATOR,
        f'tokenizer_dir={trained / "tokenizer"}',
        f'start_from={trained / "generator"}',
        *('generator.critic=token', 'generator.critic_layers=1'),
        *('task.trained=critic', 'sampling.order=critic'),
      ]
    ),
  )
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  names = {name for line in lines for name in json.loads(line)}
  assert {'train/critic_accuracy', 'heldout/critic_accuracy'} < names
  _run(
    *('story', '--model', workdir, '--out', out, '--steps', 2),
    *('--prompt', 'a red circle on grass'),
  )
  assert out.stat().st_size
  assert 'critic' in out.with_suffix('.json').read_text()


@pytest.mark.slow
@pytest.mark.unoptimized
def test_trained_generator_generates_a_story_video(trained):
  out = trained / 'story.mp4'
  done, loaded = _run(
    *('story', '--model', trained / 'generator', '--out', out),
    *('--prompt', 'a red circle on grass', '--prompt', 'it turns blue'),
    *('--steps', 2),
  )
  assert 'tensorflow' not in loaded
  for suffix in ('.mp4', '.gif', '.png', '.json'):
    path = out.with_suffix(suffix)
    assert path.stat().st_size
    assert str(path) in done.stdout


@pytest.mark.slow
@pytest.mark.unoptimized
def test_evaluate_scores_a_trained_generator(trained):
  out = trained / 'scores'
  _, loaded = _run(
    *('evaluate', '--model', trained / 'generator', '--out', out),
    *('--prompts', 2, '--stories', 1, '--scenes', 2, '--steps', 2),
    *('--changes', 1, '--reconstructions', 2),
  )
  assert 'tensorflow' not in loaded
  numbers = json.loads((out / 'scores.json').read_text())
  assert numbers['changes']['colour']['all_kept']['asked'] == 1
  # Of a tokenizer, the reconstructions alone.
  _run(
    *('evaluate', '--model', trained / 'tokenizer', '--out', out),
    *('--reconstructions', 2),
  )
  numbers = json.loads((out / 'scores.json').read_text())
  assert set(numbers) == {'protocol', 'reconstruction'}


@pytest.mark.slow
@pytest.mark.unoptimized
def test_export_writes_a_model_card_and_a_usable_bundle(trained):
  scores = trained / 'some_scores'
  scores.mkdir()
  (scores / 'scores.md').write_text('shape 0.97\n')
  out = trained / 'bundle'
  done, loaded = _run(
    *('export', '--run', trained / 'generator', '--out', out),
    *('--dtype', 'float16', '--scores', scores, '--note', 'A trial.'),
  )
  assert 'tensorflow' not in loaded
  assert 'fingerprint' in done.stdout
  assert (out / 'checksums.json').is_file()
  card = (out / 'model_card.md').read_text()
  for words in ('generator_tiny', '2 steps', 'shape 0.97', 'A trial.'):
    assert words in card, words
  film = trained / 'from_bundle.mp4'
  _, loaded = _run(
    *('story', '--model', out, '--out', film, '--steps', 2),
    *('--prompt', 'a red circle on grass'),
  )
  assert film.stat().st_size
  assert 'tensorflow' not in loaded
