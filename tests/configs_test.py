"""Every shipped config resolves, and its flattened form equals a golden file.

A changed value is one line of the diff. After an intended change, refresh the
files and review them:

    PHENAKI_REFRESH_GOLDENS=1 python -m pytest tests/configs_test.py
"""

import dataclasses
import json
import os
import pathlib
import re

import pytest
from flax import traverse_util

from phenaki_jax import config as config_lib
from phenaki_jax.errors import UserError
from phenaki_jax.runs import experiment as experiment_lib
from phenaki_jax.runs import validation
from phenaki_jax.runs.experiment import Experiment

ROOT = pathlib.Path(__file__).resolve().parents[1]
CONFIGS = ROOT / 'configs'
GOLDENS = ROOT / 'tests' / 'golden' / 'configs'
RUNS = sorted(
  path
  for kind in ('tokenizer', 'generator', 'reader', 'diffusion', 'neighbours')
  for path in (CONFIGS / kind).glob('*.py')
)
# Also with their arguments.
EXPERIMENTS = [
  *RUNS,
  *(CONFIGS / kind / 'lpc.py:gpu' for kind in ('tokenizer', 'generator')),
  CONFIGS / 'diffusion' / 'tiny.py:latents',
  CONFIGS / 'diffusion' / 'super_resolution.py:storyworld',
  *(CONFIGS / 'neighbours' / f'make_a_video.py:{x}' for x in ('low', 'high')),
]


def _name(path):
  return path.relative_to(CONFIGS).as_posix().replace('.py', '')


def _golden(path):
  return GOLDENS / (re.sub('[/:]', '_', _name(path)) + '.json')


def _flatten(experiment):
  values = config_lib.to_dict(experiment)
  return traverse_util.flatten_dict(values, keep_empty_nodes=True, sep='.')


def _resolve(path, folder):
  """Resolve a config; for a generator, write its tokenizer's config first."""
  if path.parent.name != 'generator':
    return experiment_lib.resolve(str(path))
  name = {
    'paper_1p8b.py': 'paper.py',
    'paper_0p9b.py': 'paper.py',
    'prediction.py': 'paper.py:prediction',
  }.get(path.name, path.name)
  trained = experiment_lib.resolve(f'{CONFIGS}/tokenizer/{name}')
  (folder / experiment_lib.CONFIG_FILE).write_text(config_lib.to_json(trained))
  return experiment_lib.resolve(str(path), [f'tokenizer_dir={folder}'])


@pytest.mark.parametrize('path', EXPERIMENTS, ids=_name)
def test_config_equals_its_golden(path, tmp_path):
  experiment = dataclasses.replace(_resolve(path, tmp_path), tokenizer_dir='')
  text = json.dumps(_flatten(experiment), indent=1, sort_keys=True) + '\n'
  if os.environ.get('PHENAKI_REFRESH_GOLDENS') == '1':
    GOLDENS.mkdir(parents=True, exist_ok=True)
    _golden(path).write_text(text)
  assert _golden(path).read_text() == text, (
    'the config has changed; if that is intended, refresh the golden file as '
    'described at the top of this test'
  )


def test_every_golden_has_its_config():
  assert sorted(GOLDENS.glob('*.json')) == sorted(map(_golden, EXPERIMENTS))


@pytest.mark.parametrize('path', EXPERIMENTS, ids=_name)
def test_config_is_ready_to_run(path, tmp_path):
  experiment = _resolve(path, tmp_path)
  validation.validate(experiment, num_devices=1)
  assert experiment.kind == path.parent.name or 'neighbours' in path.parts


@pytest.mark.parametrize('path', RUNS, ids=_name)
def test_config_describes_how_to_run_it(path):
  text = path.read_text()
  assert f'--config configs/{_name(path)}.py' in text
  assert re.search(r'core|GPU|TPU', text), 'name the hardware'
  assert re.search(r'minute|hour', text), 'name the expected time'


@pytest.mark.parametrize('path', RUNS, ids=_name)
def test_config_refuses_an_unknown_argument(path):
  with pytest.raises(ValueError, match='unknown config argument nonsense'):
    config_lib.load(f'{path}:nonsense')


@pytest.mark.parametrize('path', EXPERIMENTS, ids=_name)
def test_config_round_trips_through_json(path, tmp_path):
  experiment = _resolve(path, tmp_path)
  text = config_lib.to_json(experiment)
  assert config_lib.from_json(Experiment, text) == experiment
  assert hash(config_lib.from_json(Experiment, text)) == hash(experiment)


def _fields():
  """Return every (dotted name of a group, name of a field in it)."""
  found = []
  for name, value in vars(Experiment(kind='tokenizer')).items():
    found.append(('', name))
    if dataclasses.is_dataclass(value):
      found += [(name, field.name) for field in dataclasses.fields(value)]
  return found


def _nest(group, name, value):
  """Return the values of an experiment with one field set."""
  nested = {group: {name: value}} if group else {name: value}
  return {'kind': 'tokenizer', **nested}


def _refusal(make, *arguments):
  """Return the sentence that refuses an experiment."""
  try:
    return f'it is {make(Experiment, *arguments)}'
  except UserError as error:
    return str(error)


def test_unknown_keys_name_the_nearest():
  wrong = []
  assert len(_fields()) > 100
  for group, field in _fields():
    misspelt = field[:1] + 'x' + field[1:]
    prefix = f'{group}.' if group else ''
    sentence = (
      f'unknown config key {prefix}{misspelt}; did you mean {prefix}{field}?'
    )
    found = (
      _refusal(config_lib.build, _nest(group, misspelt, 1)),
      _refusal(config_lib.override, {}, [f'{prefix}{misspelt}=1']),
    )
    wrong += [one for one in found if sentence not in one]
  assert not wrong


def _misfits():
  """Return every (group, field, value of a wrong type)."""
  values = [True, 1, 1.5, 'text', [1.5, 'text'], {'text': 1}, None]
  fitting = {float: (int, float), type(None): (int, type(None))}
  experiment = Experiment(kind='tokenizer')
  for group, field in _fields():
    default = getattr(getattr(experiment, group, experiment), field)
    kinds = fitting.get(type(default), (type(default),))
    for value in values:
      if type(value) not in kinds:
        yield group, field, value


def test_wrong_types_are_refused():
  wrong = {}
  for group, field, value in _misfits():
    key = f'{group}.{field}' if group else field
    found = _refusal(config_lib.build, _nest(group, field, value))
    if not re.match(rf'(unknown config key )?{re.escape(key)}\b', found):
      wrong[key, str(value)] = found
  assert not wrong


# The shipped model that tells each story.
STORIES = {'circle': 'storyworld', 'lpc': 'lpc'}


@pytest.mark.parametrize('name', STORIES)
def test_stories_have_a_picture_and_words_that_their_model_knows(name):
  from phenaki_jax.export import bundle
  from phenaki_jax.stories.story_file import read_story
  from phenaki_jax.text.words import Words

  path = CONFIGS / 'stories' / f'{name}.yaml'
  assert path.with_suffix('.png').is_file()
  shipped = bundle.load_bundle(bundle.reference_dir(STORIES[name]))
  words = Words.from_json(shipped.words)
  scenes = read_story(path).scenes
  assert len(scenes) >= 3
  assert not any(words.unknown(scene.prompt) for scene in scenes)


def test_every_story_has_its_model():
  found = {path.stem for path in (CONFIGS / 'stories').glob('*.yaml')}
  assert found == set(STORIES)
