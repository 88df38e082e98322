"""Configs are loaded, overridden and built strictly into dataclasses."""

import dataclasses
from typing import Annotated, Literal

import ml_collections
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenaki_jax import config as config_lib
from phenaki_jax.errors import UserError


@config_lib.validated
class Optim:
  rate: float = 1e-3
  betas: tuple[float, float] = (0.9, 0.99)
  steps: Annotated[int, pydantic.Field(ge=0)] = 10
  clip: float | None = 1.0

  def __post_init__(self):
    if self.rate == 13:
      raise UserError('13 brings bad luck')


# Groups may be plain dataclasses.
@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
  path: str = ''
  weight: float = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data:
  sources: tuple[Source, ...] = (Source(path='first'), Source())

  def __post_init__(self):
    if not self.sources:
      raise ValueError('data.sources is empty')


@config_lib.validated
class Run:
  kind: Literal['one', 'two'] = 'one'
  name: str
  names: tuple[str, ...] = ()
  is_fast: bool = False
  optim: Optim = Optim()
  extra: Optim | None = None
  data: Data = Data()


def _resolve(values, *overrides):
  return config_lib.build(Run, config_lib.override(Run, values, overrides))


def _write(folder, text, name='run.py'):
  path = folder / name
  path.write_text(text)
  return str(path)


CONFIG = """
import ml_collections

def get_config(arg=''):
  return ml_collections.ConfigDict({'name': 'x' + arg, 'optim': {'rate': 1}})
"""


def test_load_locks_and_passes_the_argument(tmp_path):
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
    ('x = 1\ndef (', 'fails in line 2: SyntaxError'),
    ('import nothing', 'fails in line 1: ModuleNotFoundError: No module named'),
    (
      'import json\n\ndef get_config(arg=""):\n  return json.loads(1)',
      'fails in line 4: TypeError',
    ),
    (
      'from phenaki_jax.errors import UserError\n'
      'def get_config(arg=""):\n  raise UserError("give arg=big")',
      '^give arg=big$',
    ),
  ],
)
def test_load_refuses_an_invalid_config(tmp_path, text, sentence):
  with pytest.raises(UserError, match=sentence):
    config_lib.load(_write(tmp_path, text))


def test_load_names_a_missing_file():
  with pytest.raises(FileNotFoundError, match=r'no config file nowhere/x\.py'):
    config_lib.load('nowhere/x.py:arg')


def test_parse_arg_reads_by_the_type_of_the_default():
  arg = config_lib.parse_arg('size=base,smoke', size='tiny', smoke=False, n=3)
  assert (arg.size, arg.smoke, arg.n) == ('base', True, 3)


@pytest.mark.parametrize(
  ('arg', 'sentence'),
  [
    ('smok', 'unknown config argument smok; did you mean smoke'),
    ('n=x', "n is 'x', but it must be a valid integer"),
    ('n', 'n is True, but it must be a valid integer'),
  ],
)
def test_parse_arg_refuses(arg, sentence):
  with pytest.raises(UserError, match=sentence):
    config_lib.parse_arg(arg, smoke=False, n=3)


def test_overrides_are_read_by_the_type_of_the_field():
  run = _resolve(
    ml_collections.ConfigDict(),
    *('name=7', 'names=red, blue', 'kind=two', 'is_fast=true'),
    *('optim.rate=3e-4', 'optim.betas=(0.5,1)', 'optim.steps=1_000'),
    *('optim.clip=none', 'extra.steps=2', 'optim.betas.0=0.25'),
    *('data.sources.1.path=none', 'data.sources.1.weight=2'),
  )
  assert run == Run(
    name='7',
    names=('red', 'blue'),
    kind='two',
    is_fast=True,
    optim=Optim(rate=3e-4, betas=(0.25, 1.0), steps=1000, clip=None),
    extra=Optim(steps=2),
    data=Data(
      sources=(Source(path='first'), Source(path='none', weight=2.0)),
    ),
  )
  assert isinstance(run.optim.betas[1], float)


@pytest.mark.parametrize(
  ('override', 'field', 'value'),
  [
    ('names=red', 'names', ('red',)),
    ('names=[red,blue]', 'names', ('red', 'blue')),
    ('names=', 'names', ()),
    ('name=', 'name', ''),
    ('name=a=b', 'name', 'a=b'),
    ('extra=None', 'extra', None),
    ('optim={"rate": 2, "clip": null}', 'optim', Optim(rate=2.0, clip=None)),
    (
      'data.sources=[{"path": "a"}, {"weight": 2}]',
      'data',
      Data(sources=(Source(path='a'), Source(weight=2.0))),
    ),
  ],
)
def test_override_reads(override, field, value):
  assert getattr(_resolve({'name': 'x'}, override), field) == value


def test_override_leaves_the_config_as_it_was():
  config = ml_collections.ConfigDict({'name': 'x', 'optim': {'steps': 1}})
  config.lock()
  assert _resolve(config, 'optim.steps=5').optim.steps == 5
  assert config.optim.steps == 1


def test_later_override_wins():
  assert _resolve({'name': 'x'}, 'name=a', 'name=b').name == 'b'


def test_override_keeps_the_other_fields_of_the_config():
  run = _resolve({'name': 'x', 'optim': {'rate': 2}}, 'optim.steps=5')
  assert run.optim == Optim(rate=2.0, steps=5)


@pytest.mark.parametrize(
  ('override', 'sentence'),
  [
    (
      'optim.ratte=1',
      r'unknown config key optim\.ratte; did you mean optim\.rate\?',
    ),
    ('optm.rate=1', r'unknown config key optm; did you mean optim\?'),
    ('qqq=1', r'unknown config key qqq\. Allowed: kind, name'),
    ('rate=1', r'unknown config key rate; did you mean optim\.rate or extra'),
    ('data.steps=1', r'data\.steps; did you mean optim\.steps or extra\.steps'),
    (
      'data.sources.0.pth=a',
      r'key data\.sources\.0\.pth; did you mean data\.sources\.0\.path\?',
    ),
    ('data.sources.2.path=a', r'no config key data\.sources\.2\.path'),
    ('data.sources.x.path=a', r'no config key data\.sources\.x\.path'),
    ('data.sources=[]', '^data.sources is empty$'),
    ('optim=1', 'optim is 1, but it must be a group of fields'),
    ('name.x=1', "no config key name.x, because 'x' is no entry of 'x'"),
    (
      'optim.steps=1.5',
      r'optim\.steps is 1\.5, but it must be a valid integer',
    ),
    ('optim.steps=-1', r'optim\.steps is -1, but it must be greater than'),
    (
      'optim.rate=fast',
      r"optim\.rate is 'fast', but it must be a valid number",
    ),
    ('optim.rate=13', '^optim: 13 brings bad luck$'),
    ('optim.clip=x', r"optim\.clip is 'x', but it must be a valid number"),
    ('optim.betas=1', r'optim\.betas is 1, but it must be values such as 1,2'),
    ('optim.betas=1,2,3', r'optim\.betas is \[1, 2, 3\], but .* at most 2'),
    ('is_fast=1', 'is_fast is 1, but it must be a valid boolean'),
    ('kind=three', "kind is 'three', but it must be 'one' or 'two'"),
    ('optim.steps', 'write it as section.field=value'),
    ('=1', 'write it as section.field=value'),
  ],
)
def test_override_refuses(override, sentence):
  with pytest.raises(UserError, match=sentence) as caught:
    _resolve({'name': 'x'}, override)
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
  ('mapping', 'sentence'),
  [
    ({}, 'the config key name is missing'),
    ({'nam': 'x'}, 'unknown config key nam; did you mean name'),
    (3, 'it is 3, but it must be a group of fields'),
    ({'name': 3}, 'name is 3, but it must be a valid string'),
    ({'name': print}, 'a config cannot hold <built-in function print>'),
    ({'name': 'x', 'optim': {'steps': True}}, r'optim\.steps is True'),
    ({'name': 'x', 'optim': {'steps': '1'}}, r"optim\.steps is '1'"),
    ({'name': 'x', 'optim': {'rate': '1'}}, r"optim\.rate is '1'"),
    ({'name': 'x', 'optim': {'rate': False}}, r'optim\.rate is False'),
    ({'name': 'x', 'is_fast': 1}, 'is_fast is 1'),
    ({'name': 'x', 'names': 'red'}, "names is 'red'"),
    ({'name': 'x', 'names': ['red', 3]}, r'names\.1 is 3, but it must'),
    ({'name': 'x', 'kind': None}, "kind is None, but it must be 'one'"),
    ({'name': 'x', 'extra': {'step': 1}}, r'extra\.step; did you mean'),
  ],
)
def test_build_refuses(mapping, sentence):
  with pytest.raises(UserError, match=sentence):
    config_lib.build(Run, mapping)


def test_build_accepts_dataclasses_in_a_mapping():
  optim = Optim(betas=(0.1, 0.2))
  assert config_lib.build(Run, {'name': 'x', 'optim': optim}).optim == optim


def test_faults_in_a_union_of_groups_are_named_without_the_member():
  @config_lib.validated
  class Outer:
    group: Optim | Source

  assert config_lib.build(Outer, {'group': {'path': 'a'}}).group.path == 'a'
  with pytest.raises(UserError, match=r'^group\.rate is .x., but it must'):
    config_lib.build(Outer, {'group': {'rate': 'x'}})


@pytest.mark.parametrize(
  ('values', 'sentence'),
  [
    ({'steps': -1}, '^steps is -1, but it must be greater than or equal to 0$'),
    ({'steps': 1.0}, 'steps is 1.0, but it must be a valid integer'),
    ({'betas': [0.1, 0.2]}, 'betas is .*, but it must be a valid tuple'),
    ({'stepz': 1}, 'unknown config key stepz; did you mean steps'),
    ({'rate': 13}, '^13 brings bad luck$'),
  ],
)
def test_constructor_validates(values, sentence):
  with pytest.raises(UserError, match=sentence):
    Optim(**values)


def test_validated_classes_are_frozen_hashable_dataclasses():
  optim = dataclasses.replace(Optim(), rate=2)
  assert optim.rate == 2.0 and isinstance(optim.rate, float)
  assert hash(optim) == hash(Optim(rate=2.0)) != hash(Optim())
  with pytest.raises(UserError, match='steps is -1'):
    dataclasses.replace(optim, steps=-1)
  with pytest.raises(dataclasses.FrozenInstanceError):
    optim.rate = 3.0


@given(
  st.builds(
    Run,
    name=st.text(),
    kind=st.sampled_from(['one', 'two']),
    names=st.lists(st.text()).map(tuple),
    is_fast=st.booleans(),
    optim=st.builds(
      Optim,
      rate=st.floats(allow_nan=False).filter(lambda rate: rate != 13),
      betas=st.tuples(st.floats(0, 1), st.floats(0, 1)),
      steps=st.integers(0),
      clip=st.none() | st.floats(0, 1),
    ),
    extra=st.none() | st.builds(Optim),
    data=st.builds(
      Data,
      sources=st.lists(st.builds(Source, path=st.text()), min_size=1).map(
        tuple
      ),
    ),
  )
)
def test_json_round_trip(run):
  assert config_lib.from_json(Run, config_lib.to_json(run)) == run


@given(st.floats(allow_nan=False))
def test_override_reads_every_float_exactly(rate):
  if abs(rate) < float('inf') and rate != 13:
    run = _resolve({'name': 'x'}, f'optim.rate={rate!r}')
    assert run.optim.rate == rate


@given(st.text().map(str.strip).filter(lambda text: text[:1] not in '"\''))
def test_override_reads_text_that_is_not_quoted(name):
  assert _resolve({'name': 'x'}, f'name={name}').name == name


def test_from_json_refuses_text_that_is_not_json():
  with pytest.raises(UserError, match='not a JSON config'):
    config_lib.from_json(Run, '{')
