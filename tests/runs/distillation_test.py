"""A student is resolved, trained, resumed, opened and exported."""

import dataclasses
import pathlib

import jax
import numpy as np
import pytest

from phenaki_jax import sharding
from phenaki_jax.errors import UserError
from phenaki_jax.export.bundle import (
  find_model,
  load_bundle,
  reference_dir,
  write_bundle,
)
from phenaki_jax.runs import export as export_lib
from phenaki_jax.runs import starting, train
from phenaki_jax.runs.assemble import assemble_abstract
from phenaki_jax.runs.experiment import resolve, tokenizer_config
from phenaki_jax.runs.open import load
from phenaki_jax.runs.validation import validate
from phenaki_jax.sharding import MeshConfig
from phenaki_jax.training.checkpoint_manifest import digest_tree

CONFIGS = pathlib.Path(__file__).resolve().parents[2] / 'configs'
SHORT = ('train.steps=2', 'train.log_every=1', 'train.evaluate_every=2')
FEW = ('data.batch_size=8', 'data.num_threads=0', 'data.row_multiple=8')


def _guidance(teacher, *overrides):
  spec = f'{CONFIGS}/distilled/guidance.py:teacher={teacher}'
  return resolve(spec, overrides)


def test_student_has_what_its_teacher_has(tiny_bundle):
  model = load(tiny_bundle)
  student = _guidance(tiny_bundle, *FEW)
  assert student.generator == model.sampler.models.generator
  assert student.text == model.sampler.models.text
  assert student.tokenizer == model.sampler.models.tokenizer
  assert student.tokenizer_dir == str(tiny_bundle)
  assert student.data == dataclasses.replace(
    model.data, batch_size=8, num_threads=0, row_multiple=8
  )
  defaults = model.defaults.settings
  assert student.distillation.guidance == defaults.guidance > 0
  assert student.distillation.temperature == defaults.temperature
  assert student.sampling == dataclasses.replace(
    defaults,
    guidance=0.0,
    steps=6,
    schedule='cubic',
    order='confidence',
    choice_temperature=1.0,
  )
  validate(student, num_devices=8)


def test_steps_of_a_student_are_those_of_its_sampling(tiny_bundle):
  student = resolve(
    f'{CONFIGS}/distilled/steps.py:teacher={tiny_bundle},steps=5',
    ['sampling.temperature=0.25'],
  )
  assert (student.distillation.steps, student.sampling.steps) == (5, 5)
  assert student.sampling.temperature == 0.25


def test_reference_is_the_teacher_where_none_is_named():
  student = resolve(f'{CONFIGS}/distilled/guidance.py')
  assert student.distillation.teacher == 'storyworld'
  assert student.tokenizer_dir == str(reference_dir())
  assert find_model('lpc') == reference_dir('lpc')
  assert tokenizer_config(reference_dir()) == student.tokenizer


def test_student_with_a_critic_is_refused(tiny_bundle):
  student = _guidance(tiny_bundle, 'generator.critic=token')
  with pytest.raises(UserError, match='a student learns no critic'):
    validate(student, num_devices=1)


@pytest.mark.parametrize(
  ('override', 'words'),
  [
    ('task.text_dropout=0.1', 'text_dropout is 0.1, but a student is sampled'),
    ('task.balance=examples', "balance is 'examples', but a student weighs"),
  ],
)
def test_what_a_student_does_not_follow_is_refused(
  tiny_bundle, override, words
):
  student = _guidance(tiny_bundle)
  assert student.task.text_dropout == 0.0
  with pytest.raises(UserError, match=words):
    validate(_guidance(tiny_bundle, override), num_devices=1)


def test_settings_of_a_student_need_a_teacher(tiny_bundle):
  student = _guidance(tiny_bundle, 'distillation.steps=6')
  validate(student, num_devices=1)
  alone = dataclasses.replace(
    student,
    distillation=dataclasses.replace(student.distillation, teacher=''),
    start_from=str(tiny_bundle),
  )
  with pytest.raises(UserError, match='but there is no teacher; set'):
    validate(alone, num_devices=1)


def _resampled(bundle, folder, **sampling):
  """Copy a bundle, with other sampling settings."""
  found = load_bundle(bundle)
  config = {**found.config, 'sampling': found.config['sampling'] | sampling}
  write_bundle(
    folder,
    tokenizer_params=found.tokenizer_params,
    generator_params=found.generator_params,
    config=config,
    vocabulary=found.vocabulary,
    model_card=found.model_card,
    words=found.words,
  )
  return folder


@pytest.mark.parametrize(
  'sampling',
  [
    {'guidance_schedule': 'linear'},
    {'negative': 'a blue square'},
    {'guidance': 0.0, 'time_guidance': 2.0},
  ],
)
def test_guidance_that_no_student_learns_is_refused(
  tiny_bundle, tmp_path, sampling
):
  place = _resampled(tiny_bundle, tmp_path / 'teacher', **sampling)
  name, value = list(sampling.items())[-1]
  with pytest.raises(UserError, match=rf'sampling\.{name}={value!r}, but a st'):
    _guidance(place)


def test_guidance_that_does_nothing_is_not_copied(tiny_bundle, tmp_path):
  place = _resampled(
    tiny_bundle,
    tmp_path / 'teacher',
    guidance=0.0,
    guidance_schedule='cosine',
    negative='a blue square',
  )
  student = _guidance(place)
  assert student.sampling.guidance_schedule == 'constant'
  assert student.sampling.negative == ''
  with pytest.raises(UserError, match="guidance_schedule='cosine'"):
    _guidance(place, 'distillation.guidance=2.0')


def test_states_have_the_schedule_of_the_sampling(tiny_bundle):
  student = _guidance(
    tiny_bundle, 'sampling.schedule=linear', 'distillation.steps=6'
  )
  mesh = sharding.make_mesh(MeshConfig(), devices=jax.devices()[:1])
  assert assemble_abstract(student, mesh=mesh).task.schedule == 'linear'


def test_a_student_has_the_ports_of_its_teacher(tiny_bundle, tiny_sampler):
  params = tiny_sampler.tokenizer_params
  student = _guidance(tiny_bundle)
  assert starting.teacher_of(student, params)
  ported = _guidance(tiny_bundle, 'generator.ports.scalars=fps')
  with pytest.raises(UserError, match='has the ports of its teacher, so leave'):
    starting.teacher_of(ported, params)


def test_a_student_sees_earlier_scenes_if_its_teacher_does():
  shares = [
    _guidance(name).task.history_share for name in ('lpc', 'storyworld')
  ]
  assert shares == [1.0, 0.0]


def test_what_teaches_is_a_generator(tmp_path):
  with pytest.raises(UserError, match='not a run directory'):
    _guidance(tmp_path)


def _trained(experiment, folder):
  assert train.train(experiment, folder) == 0
  return load(folder)


@pytest.mark.slow
@pytest.mark.unoptimized
def test_students_are_models_like_others(tiny_bundle, tmp_path):
  teacher = load(tiny_bundle)
  before = digest_tree(teacher.sampler.generator_params)
  place = tmp_path / 'unguided'
  first = _trained(_guidance(tiny_bundle, *FEW, *SHORT), place)
  assert first.defaults.settings.guidance == 0
  changed = jax.tree.map(
    lambda a, b: bool((a != b).any()),
    dict(teacher.sampler.generator_params),
    dict(first.sampler.generator_params),
  )
  assert any(jax.tree.leaves(changed))
  assert digest_tree(load(tiny_bundle).sampler.generator_params) == before
  # The same command goes on, with more steps.
  longer = [*FEW, *SHORT, 'train.steps=3']
  assert 'at step 3' in _trained(_guidance(tiny_bundle, *longer), place).name
  # Another teacher is another run.
  with pytest.raises(UserError, match='distillation.digest'):
    train.train(
      resolve(
        f'{CONFIGS}/distilled/guidance.py:teacher={place}',
        [*longer, 'train.steps=4', 'distillation.guidance=3.0'],
      ),
      place,
    )
  few = resolve(
    f'{CONFIGS}/distilled/steps.py:teacher={place},steps=3',
    [*FEW, *SHORT],
  )
  assert few.distillation.guidance == 0
  second = _trained(few, tmp_path / 'few')
  assert second.defaults.settings.steps == 3
  film = second.story(['a red circle moves left'], seed=1, frames=9)
  assert film.frames.shape == (9, 16, 16, 3)
  exported = export_lib.export(tmp_path / 'few', tmp_path / 'bundle')
  again = exported.story(['a red circle moves left'], seed=1, frames=9)
  np.testing.assert_array_equal(again.frames, film.frames)
  card = load_bundle(tmp_path / 'bundle').model_card
  assert 'that of the bundle `tiny`' in card
