"""What cannot run is refused before the first unit starts, by its name."""

import dataclasses

import pytest

from phenaki_jax.errors import UserError
from phenaki_jax.export.bundle import find_model
from phenaki_jax.runs import ablate_check
from phenaki_jax.runs.ablate_check import check_sweep


def _changed(sweep, number, **fields):
  """Return the sweep with other fields in the units of one point."""
  points = list(sweep.points)
  units = tuple(
    dataclasses.replace(
      unit,
      evaluation={**unit.evaluation, **fields.get('evaluation', {})},
      experiment=dataclasses.replace(
        unit.experiment,
        **fields.get('experiment', {}),
        data=dataclasses.replace(
          unit.experiment.data, **fields.get('data', {})
        ),
      ),
    )
    for unit in points[number].units
  )
  points[number] = dataclasses.replace(points[number], units=units)
  return dataclasses.replace(sweep, points=tuple(points))


BAD = {
  'no image': ({'data': {'image_share': 0.01}}, '4 clips and 0 images; use a'),
  'evaluation': (
    {'evaluation': {'prompts': 0, 'frechet': False}},
    'nothing to evaluate',
  ),
  'distance': (
    {'evaluation': {'prompts': 0}},
    'frechet compares the clips of single prompts',
  ),
  'tokenizer': ({'experiment': {'tokenizer_dir': ''}}, 'a trained tokenizer'),
  'checkpoint': (
    {'experiment': {'tokenizer_dir': 'nowhere'}},
    'nowhere has no checkpoint yet',
  ),
  'world': ({'evaluation': {'subset': 'none'}}, 'none'),
  'reader': (
    {'evaluation': {'world': 'lpc', 'reader': 'nowhere'}},
    'there is no reader at nowhere',
  ),
}


@pytest.mark.parametrize(('fields', 'sentence'), BAD.values(), ids=list(BAD))
def test_a_unit_that_cannot_run_is_named(load_halves, fields, sentence):
  sweep = _changed(load_halves(seeds=1), 1, **fields)
  with pytest.raises(UserError, match=f'^unit half: .*{sentence}'):
    check_sweep(sweep, num_devices=1)


def test_data_that_are_missing_are_named(load_halves):
  source = {'layout': 'manifest', 'path': 'nowhere'}
  sweep = load_halves(
    f'data.sources=[{{"layout":"manifest","path":"{source["path"]}"}}]',
    seeds=1,
  )
  with pytest.raises(UserError, match='^unit none: .*nowhere'):
    check_sweep(sweep, num_devices=1)


def test_a_batch_must_divide_over_the_devices(load_halves):
  with pytest.raises(UserError, match='^unit half: .*among 4 devices'):
    check_sweep(load_halves(seeds=1), num_devices=4)


def test_a_sweep_that_can_run_passes(load_halves):
  sweep = load_halves()
  for number in range(2):  # opening the network takes seconds
    sweep = _changed(sweep, number, evaluation={'frechet': False})
  check_sweep(sweep, num_devices=1)


def test_a_tokenizer_may_be_that_of_a_bundle(load_halves):
  sweep = load_halves()
  for number in range(2):
    sweep = _changed(
      sweep,
      number,
      evaluation={'frechet': False},
      experiment={'tokenizer_dir': str(find_model('storyworld'))},
    )
  check_sweep(sweep, num_devices=1)


@pytest.mark.slow
def test_devices_are_counted_by_another_process(monkeypatch):
  monkeypatch.setenv('JAX_NUM_CPU_DEVICES', '3')
  assert ablate_check.count_elsewhere() == 3
  monkeypatch.setenv('JAX_PLATFORMS', 'nonsense')
  with pytest.raises(UserError, match='JAX finds no device: .*nonsense'):
    ablate_check.count_elsewhere()
