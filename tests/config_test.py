"""Configs: loading, overriding, and building frozen dataclasses strictly."""

import dataclasses
from typing import Literal

import ml_collections
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenaki_jax import config as config_lib


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optim:
  rate: float = 1e-3
  betas: tuple[float, float] = (0.9, 0.99)
  steps: int = 10
  clip: float | None = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
  kind: Literal['one', 'two'] = 'one'
  name: str
  names: tuple[str, ...] = ()
  is_fast: bool = False
  optim: Optim = Optim()
  extra: Optim | None = None

  def __post_init__(self):
    if self.name == 'forbidden':
      raise ValueError('the name is forbidden')


def _write(folder, text, name='run.py'):
  path = folder / name
  path.write_text(text)
  return str(path)


CONFIG = """
import ml_collections

def get_config(arg=''):
  return ml_collections.ConfigDict({'name': 'x' + arg, 'optim': {'rate': 1}})
"""


def test_load_locks_and_hands_over_the_argument(tmp_path):
  config = config_lib.load(_write(tmp_path, CONFIG) + ':big')
  assert config.name == 'xbig'
  with pytest.raises(AttributeError):
    config.nmae = 'typo'
  assert not list(tmp_path.glob('__pycache__'))


@pytest.mark.parametrize(
  ('text', 'sentence'),
  [
    ('x = 1', 'must define get_config'),
    ('def get_config(arg=""):\n  return {}', 'must return an ml_collections'),
    ('def (', 'not valid Python: line 1'),
    ('import nothing', 'fails in line 1: ModuleNotFoundError: No module named'),
    (
      'import json\n\ndef get_config(arg=""):\n  return json.loads(1)',
      'fails in line 4: TypeError',
    ),
    (
      'def get_config(arg=""):\n  raise ValueError("give arg=big")',
      '^give arg=big$',
    ),
  ],
)
def test_load_refuses_what_is_no_config(tmp_path, text, sentence):
  with pytest.raises(ValueError, match=sentence):
    config_lib.load(_write(tmp_path, text))


def test_load_names_a_missing_file():
  with pytest.raises(FileNotFoundError, match=r'no config file nowhere/x\.py'):
    config_lib.load('nowhere/x.py:arg')


def test_load_refuses_another_kind_of_file(tmp_path):
  with pytest.raises(ValueError, match='must be a Python file'):
    config_lib.load(_write(tmp_path, '{}', 'run.yaml'))


def test_parse_arg_reads_by_the_type_of_the_default():
  arg = config_lib.parse_arg('size=base,smoke', size='tiny', smoke=False, n=3)
  assert (arg.size, arg.smoke, arg.n) == ('base', True, 3)


@pytest.mark.parametrize(
  ('arg', 'sentence'),
  [
    ('smok', 'did you mean smoke'),
    ('n=x', 'n must be a whole number'),
    ('n', 'needs a value'),
  ],
)
def test_parse_arg_refuses(arg, sentence):
  with pytest.raises(ValueError, match=sentence):
    config_lib.parse_arg(arg, smoke=False, n=3)


def test_resolve_reads_overrides_by_the_type_of_the_field():
  overrides = [
    'name=7',
    'names=red, blue',
    'kind=two',
    'is_fast=true',
    'optim.rate=3e-4',
    'optim.betas=(0.5,1)',
    'optim.steps=1_000',
    'optim.clip=none',
    'extra.steps=2',
  ]
  run = config_lib.resolve(Run, ml_collections.ConfigDict(), overrides)
  assert run == Run(
    name='7',
    names=('red', 'blue'),
    kind='two',
    is_fast=True,
    optim=Optim(rate=3e-4, betas=(0.5, 1.0), steps=1000, clip=None),
    extra=Optim(steps=2),
  )
  assert isinstance(run.optim.betas[1], float)


def test_resolve_leaves_the_config_as_it_was():
  config = ml_collections.ConfigDict({'name': 'x', 'optim': {'steps': 1}})
  config.lock()
  assert config_lib.resolve(Run, config, ['optim.steps=5']).optim.steps == 5
  assert config.optim.steps == 1


def test_later_override_wins():
  run = config_lib.resolve(Run, {'name': 'x'}, ['name=a', 'name=b'])
  assert run.name == 'b'


@pytest.mark.parametrize(
  ('override', 'sentence'),
  [
    (
      'optim.ratte=1',
      r'unknown config key optim\.ratte; did you mean optim\.r',
    ),
    ('optm.rate=1', r'unknown config key optm; did you mean optim\?'),
    ('nonsense=1', 'unknown config key nonsense; Allowed: kind, name'),
    ('optim=1', r'group of fields; set one of them: optim\.rate'),
    ('name.x=1', 'name is a value, not a group'),
    ('optim.steps=1.5', r'optim\.steps must be a whole number, not .1\.5.'),
    ('optim.rate=fast', r'optim\.rate must be a number'),
    ('optim.clip=x', r'optim\.clip must be a number or none'),
    ('optim.betas=1', r'optim\.betas must be 2 values \(float,float\)'),
    ('is_fast=1', 'is_fast must be true or false'),
    ('kind=three', "kind must be one of 'one', 'two'"),
    ('optim.steps', 'write it as section.field=value'),
    ('name=forbidden', 'the name is forbidden'),
  ],
)
def test_resolve_refuses_an_override(override, sentence):
  with pytest.raises(ValueError, match=sentence):
    config_lib.resolve(Run, {'name': 'x'}, [override])


@pytest.mark.parametrize(
  ('mapping', 'sentence'),
  [
    ({}, 'the config key name is missing'),
    ({'name': 3}, 'name must be text, not 3'),
    ({'name': 'x', 'optim': 3}, 'optim must be a group of fields'),
    ({'name': 'x', 'optim': {'steps': True}}, r'optim\.steps must be a whole'),
    ({'name': 'x', 'names': 'red'}, 'names must be values a,b,'),
    ({'name': 'x', 'names': ['red', 3]}, r'names\[1\] must be text'),
    ({'name': 'x', 'extra': {'step': 1}}, r'extra\.step; did you mean'),
  ],
)
def test_build_refuses(mapping, sentence):
  with pytest.raises(ValueError, match=sentence):
    config_lib.build(Run, mapping)


def test_build_says_which_group_a_refused_value_is_in():
  @dataclasses.dataclass(frozen=True, kw_only=True)
  class Outer:
    run: Run

  with pytest.raises(ValueError, match='run: the name is forbidden'):
    config_lib.build(Outer, {'run': {'name': 'forbidden'}})


@given(
  st.builds(
    Run,
    name=st.text().filter(lambda name: name != 'forbidden'),
    kind=st.sampled_from(['one', 'two']),
    names=st.lists(st.text()).map(tuple),
    is_fast=st.booleans(),
    optim=st.builds(
      Optim,
      rate=st.floats(allow_nan=False, allow_infinity=False),
      steps=st.integers(),
      clip=st.none() | st.floats(0, 1),
    ),
    extra=st.none() | st.builds(Optim),
  )
)
def test_json_round_trip(run):
  assert config_lib.from_json(Run, config_lib.to_json(run)) == run


def test_from_json_refuses_what_is_no_json():
  with pytest.raises(ValueError, match='not a JSON config'):
    config_lib.from_json(Run, '{')


def test_flatten_sorts_dotted_keys():
  flat = config_lib.flatten(Run(name='x', names=('a',)))
  assert list(flat) == sorted(flat)
  assert flat['optim.betas'] == [0.9, 0.99]
  assert flat['names'] == ['a']
  assert flat['extra'] is None
