"""Which settings may change when a run is resumed."""

import dataclasses
import pathlib

import pytest

from phenaki_jax import config as config_lib
from phenaki_jax.errors import UserError
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.training import compatibility
from phenaki_jax.training.compatibility import RunDescription, check_same_run

FOLDER = pathlib.Path('run/checkpoints/8')
CONFIG = {'kind': 'tokenizer', 'tokenizer': {'width': 8}, 'train': {'steps': 9}}
IDENTITY = {'data': 'abc'}
ARRAYS = {'params/w': 'float32(8, 4)'}


def _run(config=CONFIG, identity=IDENTITY, arrays=ARRAYS):
  return RunDescription(config=config, identity=identity, arrays=arrays)


def _check(config=CONFIG, identity=IDENTITY, arrays=ARRAYS):
  check_same_run(
    FOLDER,
    saved=_run(),
    ours=_run(config, identity, arrays),
    step=9,
  )


def test_same_run_passes_silently(caplog):
  _check()
  assert caplog.text == ''


def test_longer_run_passes_and_is_logged(caplog):
  _check({**CONFIG, 'train': {'steps': 20}})
  assert 'train.steps is 9 there and 20 here' in caplog.text


def test_longer_run_logs_the_learning_rates(caplog):
  config = {'optim': {'warmup_steps': 2}, 'train': {'steps': 10}}
  longer = {**config, 'train': {'steps': 30}}
  check_same_run(FOLDER, saved=_run(config), ours=_run(longer), step=9)
  assert (
    'The learning rate of step 10 was 0.000134 and is now 0.000868.'
    in caplog.text
  )
  caplog.clear()
  constant = {**config, 'optim': {'warmup_steps': 2, 'decay': 'constant'}}
  other = {**constant, 'train': {'steps': 30}}
  check_same_run(FOLDER, saved=_run(constant), ours=_run(other), step=9)
  assert 'learning rate' not in caplog.text


def test_another_optimizer_is_named_rather_than_its_arrays():
  states = [
    {**ARRAYS, **{f'opt_state/{name}/{i}': 'float32()' for i in range(50)}}
    for name in ('adam', 'muon')
  ]
  configs = [
    {**CONFIG, 'optim': {'optimizer': name}} for name in ('adamw', 'muon')
  ]
  with pytest.raises(ValueError) as caught:
    check_same_run(
      FOLDER,
      saved=_run(configs[0], arrays=states[0]),
      ours=_run(configs[1], arrays=states[1]),
      step=9,
    )
  assert str(caught.value) == (
    'run/checkpoints/8 belongs to another run: optim.optimizer is adamw there '
    'and muon here. Give another --workdir, or the settings of that run.'
  )


@pytest.mark.parametrize(
  ('change', 'sentence'),
  [
    ({'config': {**CONFIG, 'tokenizer': {}}}, 'width is 8 there and 512 here'),
    ({'config': {**CONFIG, 'seed': 2}}, 'seed is absent there and 2 here'),
    ({'identity': {}}, 'data is abc there and absent here'),
    ({'identity': {'data': 'x'}}, 'data is abc there and x here'),
    ({'arrays': {}}, 'params.w is float32.8, 4. there and absent here'),
  ],
)
def test_another_model_or_other_data_is_refused(change, sentence):
  with pytest.raises(ValueError, match=sentence) as caught:
    _check(**change)
  assert str(caught.value).startswith('run/checkpoints/8 belongs to another')
  assert 'Give another --workdir' in str(caught.value)


def test_settings_of_the_data_are_named_before_their_fingerprint():
  # Without another fingerprint they may change.
  _check({**CONFIG, 'data': {'threads': 2}})
  with pytest.raises(ValueError) as caught:
    _check({**CONFIG, 'data': {'size': [8, 8]}}, identity={'data': 'x'})
  assert (
    'run: data.size is absent there and [8, 8] here '
    '(data is abc there and x here). Give'
  ) in str(caught.value)


def test_settings_are_named_rather_than_the_arrays_they_change():
  with pytest.raises(ValueError) as caught:
    _check({**CONFIG, 'tokenizer': {'width': 9}}, arrays={})
  assert 'params' not in str(caught.value)


def test_many_differences_are_counted():
  with pytest.raises(ValueError, match='; and 10 more. Give'):
    _check(arrays={f'params/{i}': 'float32()' for i in range(11)})


def test_another_tokenizer_is_refused_with_advice():
  saved, ours = (
    {**IDENTITY, compatibility.FROZEN: name} for name in ('then', 'now')
  )
  with pytest.raises(ValueError) as caught:
    check_same_run(
      FOLDER,
      saved=_run({**CONFIG, 'kind': 'generator'}, saved),
      ours=_run({**CONFIG, 'kind': 'generator'}, ours),
      step=9,
    )
  said = str(caught.value)
  assert 'frozen parameters are then there and now here' in said
  assert (
    'tokenizer_dir that the run was started with' in said
    and '--workdir' in said
  )


def test_a_run_of_an_earlier_release_has_the_defaults_of_new_options():
  old = {**CONFIG, 'generator': {'width': 16, 'num_heads': 2}}
  new = GeneratorConfig(width=16, num_heads=2)
  same = {**old, 'generator': config_lib.to_dict(new)}
  check_same_run(FOLDER, saved=_run(old), ours=_run(same), step=9)
  # Also of a group of options that an earlier release had in part.
  part = {**old['generator'], 'ports': {'canvas': False}}
  old_too = {**old, 'generator': part}
  check_same_run(FOLDER, saved=_run(old_too), ours=_run(same), step=9)
  other = config_lib.to_dict(dataclasses.replace(new, critic='self'))
  with pytest.raises(UserError, match='critic is none there and self here'):
    check_same_run(
      FOLDER,
      saved=_run(old),
      ours=_run({**old, 'generator': other}),
      step=9,
    )


def test_a_saved_config_is_read_with_the_names_of_today(caplog):
  then = {'data': {'size': [8, 8], 'cache': 'a', 'cache_bytes': 3}, 'seed': 1}
  now = {
    'data': {'size': [8, 8], 'token_cache': 'a', 'frame_cache_bytes': 3},
    'seed': 1,
  }
  assert compatibility.with_current_names(then) == now
  assert compatibility.with_current_names(now) == now
  # A setting that is gone is left out if it had no effect.
  unused, used = ({'task': {'label_smoothing': x}} for x in (0.0, 0.1))
  assert compatibility.with_current_names(unused) == {'task': {}}
  assert compatibility.with_current_names(used) == used
  check_same_run(FOLDER, saved=_run(then), ours=_run(now), step=9)
  assert caplog.text == ''


def test_other_weights_of_a_perceptual_network_are_refused_with_advice():
  saved, ours = (
    {**IDENTITY, compatibility.FROZEN: name} for name in ('then', 'now')
  )
  with pytest.raises(ValueError, match='then there and now here.*losses.net'):
    check_same_run(
      FOLDER, saved=_run(identity=saved), ours=_run(identity=ours), step=9
    )


def test_settings_that_an_earlier_release_lacked_have_their_defaults(caplog):
  config = {**CONFIG, 'tokenizer': {'width': 8, 'lfq_bits': 13}}
  _check(config)
  assert caplog.text == ''
  with pytest.raises(ValueError, match='lfq_bits is 13 there and 9 here'):
    _check({**config, 'tokenizer': {'width': 8, 'lfq_bits': 9}})
