"""Sweeps become units with stable names and equal totals."""

import dataclasses
import pathlib
import re

import pytest

from phenaki_jax import config as config_lib
from phenaki_jax.errors import UserError
from phenaki_jax.runs import experiment as experiment_lib
from phenaki_jax.runs.ablate_sweep import load_sweep

CONFIGS = pathlib.Path(__file__).resolve().parents[2] / 'configs'
SWEEPS = sorted((CONFIGS / 'sweeps').glob('*.py'))
COUNTS = {'ratio': (7, 13), 'table2': (3, 5)}
TABLE2 = {'100/0': 0.0, '80/20': 0.2, '50/50': 0.5}


@pytest.fixture(scope='module')
def tokenizers(tmp_path_factory):
  """Write the configs of the two tokenizers that the sweeps need."""
  folder = tmp_path_factory.mktemp('tokenizers')
  for name in ('tiny', 'lpc'):
    trained = experiment_lib.resolve(f'{CONFIGS}/tokenizer/{name}.py')
    (folder / name).mkdir()
    text = config_lib.to_json(trained)
    (folder / name / experiment_lib.CONFIG_FILE).write_text(text)
  return folder


def _load(path, tokenizers, arg='', seeds=1):
  name = 'lpc' if 'manifest' in arg else 'tiny'
  overrides = [f'tokenizer_dir={tokenizers / name}']
  spec = f'{path}:{arg}' if arg else str(path)
  return load_sweep(spec, seeds=seeds, overrides=overrides)


@pytest.mark.parametrize('path', SWEEPS, ids=lambda path: path.stem)
@pytest.mark.parametrize('arg', ['', 'manifest=data'])
def test_shipped_sweep_matches_examples_and_tokens(path, arg, tokenizers):
  sweep = _load(path, tokenizers, arg, seeds=3)
  shares, units = COUNTS[path.stem]
  assert len(sweep.points) == 2 * shares
  # The first unit takes as many of both, and belongs to both curves.
  assert len(sweep.units) == 3 * units
  first = sweep.points[0].units[0]
  for point in sweep.points:
    for unit in point.units:
      data = unit.experiment.data
      # The share that is asked for is exactly that of every batch.
      assert unit.composition.image_share == pytest.approx(data.image_share)
      if point.series == 'matched examples':
        assert unit.examples == first.examples
      else:
        per_step = unit.tokens / unit.experiment.train.steps
        assert abs(unit.tokens - first.tokens) <= per_step / 2
  others = [p.units[0] for p in sweep.points if p.series == 'matched tokens']
  steps = [unit.experiment.train.steps for unit in others]
  assert steps == sorted(set(steps))
  # A clip of nine frames has the tokens of five images.
  if path.stem == 'ratio':
    assert steps[-1] == 5 * steps[0]


def test_the_table_of_the_paper_has_its_ratios(tokenizers):
  sweep = _load(CONFIGS / 'sweeps' / 'table2.py', tokenizers, 'match=tokens')
  found = {
    point.label: point.units[0].composition.image_share
    for point in sweep.points
  }
  assert found == TABLE2


@pytest.mark.parametrize('path', SWEEPS, ids=lambda path: path.stem)
def test_shipped_sweep_refuses_an_unknown_argument(path):
  with pytest.raises(UserError, match='unknown config argument nonsense'):
    load_sweep(f'{path}:nonsense', seeds=1)


@pytest.mark.parametrize('path', SWEEPS, ids=lambda path: path.stem)
def test_shipped_sweep_names_what_can_be_matched(path):
  with pytest.raises(UserError, match="'foo'; use 'examples', 'tokens' or 'b"):
    load_sweep(f'{path}:match=foo', seeds=1)


def test_the_sweep_in_the_documents_loads(tmp_path):
  text = (CONFIGS.parent / 'docs' / 'ablation.md').read_text()
  (block,) = re.findall(r'```python\n(.*?)```', text, re.DOTALL)
  path = tmp_path / 'rates.py'
  path.write_text(block.replace('../generator', f'{CONFIGS}/generator'))
  sweep = load_sweep(str(path), seeds=1)
  rates = [unit.experiment.optim.learning_rate for unit in sweep.units]
  assert rates == [float(point.label) for point in sweep.points]


def test_units_run_seed_by_seed(load_halves):
  sweep = load_halves(seeds=2)
  assert [(unit.label, unit.seed) for unit in sweep.units] == [
    *(('none', 0), ('half', 0), ('none', 1), ('half', 1))
  ]
  for unit in sweep.units:
    resolved = experiment_lib.resolve(unit.config, unit.overrides)
    assert resolved == unit.experiment
    assert resolved.seed == unit.seed


def test_tokens_are_matched_on_request(load_halves):
  # Four clips of three latent frames, or two of them and two images.
  steps = {
    arg: [u.experiment.train.steps for u in load_halves(seeds=1, arg=arg).units]
    for arg in ('examples', 'tokens')
  }
  assert steps == {'examples': [6, 6], 'tokens': [6, 9]}


def test_names_depend_on_the_settings_alone(
  load_halves, sweep_file, tmp_path, monkeypatch
):
  names = [unit.name for unit in load_halves().units]
  assert len(set(names)) == 4
  monkeypatch.chdir(tmp_path)
  assert [unit.name for unit in load_halves().units] == names
  # More seeds add units and keep those that may be finished.
  more = [unit.name for unit in load_halves(seeds=3).units]
  assert more[:4] == names
  other = [unit.name for unit in load_halves('optim.b1=0.5').units]
  assert not set(other) & set(names)
  text = sweep_file.read_text()
  moved = tmp_path / 'moved.py'
  moved.write_text(text.replace("'label': label", "'label': label + '!'"))
  tokenizer = f'tokenizer_dir={sweep_file.parent / "tokenizer"}'
  renamed = load_sweep(str(moved), seeds=2, overrides=[tokenizer])
  digests = [name.rpartition('-')[2] for name in names]
  assert [u.name.rpartition('-')[2] for u in renamed.units] == digests


def test_a_config_is_found_beside_the_sweep(tmp_path):
  (tmp_path / 'own.py').write_text(
    (CONFIGS / 'generator' / 'tiny.py').read_text()
  )
  sweep = tmp_path / 'one.py'
  sweep.write_text("def get_sweep(arg=''):\n  yield {'config': 'own.py'}\n")
  (unit,) = load_sweep(str(sweep), seeds=1).units
  assert unit.config == str(tmp_path / 'own.py')
  own = experiment_lib.resolve(unit.config)
  assert dataclasses.replace(own, seed=0) == unit.experiment


BAD = {
  'nothing': ('  yield from ()', 'must yield at least one dict'),
  'no config': ("  yield {'data.fps': 8.0}", "a 'config' and the fields"),
  'a list': ('  yield []', "a 'config' and the fields"),
  'no file': ("  yield {'config': 'nowhere.py'}", 'no config file nowhere.py'),
  'misspelt': (
    "  yield {'config': TINY, 'data.image_shar': 0.2}",
    'entry 1 of .*did you mean data.image_share',
  ),
  'type': (
    "  yield {'config': TINY, 'data.image_share': 'much'}",
    'entry 1 of .*data.image_share',
  ),
  'range': (
    "  yield {'config': TINY, 'data.image_share': 1.5}",
    'data.image_share is 1.5',
  ),
  'second': (
    "  yield {'config': TINY}\n  yield {'config': TINY, 'optim.rate': 1}",
    'entry 2 of .*unknown config key optim.rate',
  ),
  'match': ("  yield {'config': TINY, 'match': 'time'}", "match is 'time'"),
  'kind': ("  yield {'config': TOKENIZER}", 'is of a tokenizer'),
  'evaluation': (
    "  yield {'config': TINY, 'evaluate.prompt': 3}",
    'unknown evaluation field prompt; did you mean prompts',
  ),
  'twice': (
    "  yield {'config': TINY, 'label': 'a'}\n"
    "  yield {'config': TINY, 'label': 'a', 'optim.b1': 0.5}",
    "two entries of .* are called 'a'",
  ),
  'bug': ("  yield {'config': 1 / 0}", 'fails in line 4: ZeroDivisionError'),
}


@pytest.mark.parametrize(('body', 'sentence'), BAD.values(), ids=list(BAD))
def test_a_wrong_sweep_is_refused_by_name(tmp_path, body, sentence):
  path = tmp_path / 'bad.py'
  path.write_text(
    f'TINY = {str(CONFIGS / "generator" / "tiny.py")!r}\n'
    f'TOKENIZER = {str(CONFIGS / "tokenizer" / "tiny.py")!r}\n'
    f"def get_sweep(arg=''):\n{body}\n"
  )
  with pytest.raises(UserError, match=sentence):
    load_sweep(str(path), seeds=1)


def test_an_override_of_what_the_sweep_sets_is_refused(load_halves):
  with pytest.raises(UserError, match='train.steps is set by the sweep'):
    load_halves('train.steps=3')
  with pytest.raises(UserError, match='seed is set by the sweep'):
    load_halves('seed=3')


def test_a_file_without_a_sweep_is_refused():
  with pytest.raises(UserError, match=r"must define get_sweep\(arg=''\)"):
    load_sweep(str(CONFIGS / 'generator' / 'tiny.py'), seeds=1)
  with pytest.raises(FileNotFoundError, match='no config file nowhere.py'):
    load_sweep('nowhere.py', seeds=1)
