"""Every shipped config resolves, and its flat form is a golden file.

A change of a number then shows as a line of the diff. After an intended one,
write the files anew and review them:

    PHENAKI_REFRESH_GOLDENS=1 python -m pytest tests/configs_test.py
"""

import dataclasses
import json
import os
import pathlib
import re

import pytest

from phenaki_jax import config as config_lib
from phenaki_jax.runs import experiment as experiment_lib

ROOT = pathlib.Path(__file__).resolve().parents[1]
CONFIGS = ROOT / 'configs'
GOLDENS = ROOT / 'tests' / 'golden' / 'configs'
RUNS = sorted(
  path
  for kind in ('tokenizer', 'generator')
  for path in (CONFIGS / kind).glob('*.py')
)


def _name(path):
  return path.relative_to(CONFIGS).with_suffix('').as_posix()


def _golden(path):
  return GOLDENS / (_name(path).replace('/', '_') + '.json')


def _resolve(path, folder):
  """Resolve a config; a generator's after laying out its tokenizer's run."""
  if path.parent.name == 'tokenizer':
    return experiment_lib.resolve(str(path))
  trained = experiment_lib.resolve(str(CONFIGS / 'tokenizer' / path.name))
  (folder / experiment_lib.CONFIG_FILE).write_text(config_lib.to_json(trained))
  return experiment_lib.resolve(str(path), [f'tokenizer_dir={folder}'])


@pytest.mark.parametrize('path', RUNS, ids=_name)
def test_config_equals_its_golden(path, tmp_path):
  experiment = dataclasses.replace(_resolve(path, tmp_path), tokenizer_dir='')
  text = json.dumps(config_lib.flatten(experiment), indent=1) + '\n'
  if os.environ.get('PHENAKI_REFRESH_GOLDENS') == '1':
    GOLDENS.mkdir(parents=True, exist_ok=True)
    _golden(path).write_text(text)
  assert _golden(path).read_text() == text, (
    'the config has changed; if that is intended, refresh the golden file as '
    'this file says'
  )


def test_every_golden_has_its_config():
  assert sorted(GOLDENS.glob('*.json')) == sorted(map(_golden, RUNS))


@pytest.mark.parametrize('path', RUNS, ids=_name)
def test_config_is_ready_to_run(path, tmp_path):
  experiment = _resolve(path, tmp_path)
  experiment_lib.validate(experiment, num_devices=1)
  assert experiment.kind == path.parent.name


@pytest.mark.parametrize('path', RUNS, ids=_name)
def test_config_says_how_it_is_run(path):
  text = path.read_text()
  assert f'--config configs/{_name(path)}.py' in text
  assert re.search(r'core|GPU|TPU', text), 'name the hardware'
  assert re.search(r'minute|hour', text), 'name the expected time'


@pytest.mark.parametrize('path', RUNS, ids=_name)
def test_config_refuses_an_argument_it_does_not_have(path):
  with pytest.raises(ValueError, match='unknown config argument nonsense'):
    config_lib.load(f'{path}:nonsense')


@pytest.mark.parametrize(
  'path', sorted((CONFIGS / 'stories').glob('*.yaml')), ids=lambda p: p.stem
)
def test_stories_are_well_formed(path):
  from phenaki_jax.stories.story_file import read_story

  assert len(read_story(path).scenes) == 3
