"""What a finished run says to do next can be done."""

import pathlib
import shlex

import pytest

from phenaki_jax import config
from phenaki_jax.cli import main as main_lib
from phenaki_jax.runs.experiment import Experiment
from phenaki_jax.runs.next_step import next_step

ROOT = pathlib.Path(__file__).resolve().parents[2]


def _next(named='tiny.py', **values):
  """Return the arguments of the command in the sentence."""
  experiment = config.build(Experiment, values)
  sentence = next_step(experiment, named, 'runs/a b/')
  argv = shlex.split(sentence.partition(': phenaki ')[2])
  return main_lib.make_parser(argv).parse_args(argv)


@pytest.mark.parametrize(
  ('folder', 'named', 'expected'),
  [
    ('.', 'configs/tokenizer/tiny.py', 'configs/generator/tiny.py'),
    ('configs/tokenizer', 'tiny.py', '../generator/tiny.py'),
    (
      *('.', 'configs/tokenizer/lpc.py:manifest=my/data'),
      'configs/generator/lpc.py:manifest=my/data',
    ),
    ('.', 'configs/tokenizer/paper.py:manifest=my/data', 'FILE'),
  ],
)
def test_the_generator_on_the_same_data_follows(
  folder, named, expected, monkeypatch
):
  monkeypatch.chdir(ROOT / folder)
  args = _next(named, kind='tokenizer')
  assert args.config == expected
  assert args.workdir == 'runs/a b_generator'
  if expected != 'FILE':
    config.load(args.config)
  assert args.set[0] == 'tokenizer_dir=runs/a b/'


@pytest.mark.parametrize(
  ('arg', 'taken', 'refused'),
  [
    ('gpu', '', 'gpu'),
    ('manifest=a b,gpu', ':manifest=a b', 'gpu'),
    ('size=x', '', 'size=x'),
  ],
)
def test_the_generator_is_given_what_its_config_takes(
  arg, taken, refused, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'generator').mkdir()
  (tmp_path / 'generator' / 'x.py').write_text(
    'import ml_collections\n'
    'from phenaki_jax import config\n'
    'def get_config(arg=""):\n'
    '  config.parse_arg(arg, manifest="", size=1)\n'
    '  return ml_collections.ConfigDict()\n'
  )
  named = f'tokenizer/x.py:{arg}'
  assert _next(named, kind='tokenizer').config == f'generator/x.py{taken}'
  experiment = config.build(Experiment, {'kind': 'tokenizer'})
  said = f'(its config does not take {refused}): phenaki train'
  assert said in next_step(experiment, named, 'runs/a')


@pytest.mark.parametrize('kind', ['generator', 'diffusion'])
def test_models_of_clips_tell_stories(kind):
  args = _next(kind=kind)
  assert args.command == 'story' and args.model == 'runs/a b/'


def test_super_resolution_and_readers_have_commands_of_their_own():
  args = _next(kind='diffusion', diffusion={'values': 'residual'})
  assert args.action == 'enlarge' and args.model == 'runs/a b/'
  args = _next(kind='reader')
  assert args.reader == 'runs/a b/' and not args.stories
  args = _next(
    kind='reader', characters={'stories': 'a.h5', 'names': ('Fred',)}
  )
  assert args.stories == 'a.h5'
