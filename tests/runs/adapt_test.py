"""The run of an adaptation: its examples, its settings and the new word."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from phenaki_jax import sharding
from phenaki_jax.data.manifest import Manifest
from phenaki_jax.diffusion.config import DiffusionConfig
from phenaki_jax.errors import NotFoundError, UserError
from phenaki_jax.runs.adapt import EXAMPLES, Adaptation, adaptation
from phenaki_jax.runs.assemble import assemble
from phenaki_jax.runs.diffusion import load_any
from phenaki_jax.runs.experiment import resolve_values
from phenaki_jax.runs.new_words import new_words
from phenaki_jax.runs.open import load
from phenaki_jax.runs.starting import differing_settings, words_after
from phenaki_jax.runs.validation import validate
from phenaki_jax.text.config import TextConfig


@pytest.fixture(scope='module')
def images(tmp_path_factory):
  """Write five images, two of which have a caption of their own."""
  folder = tmp_path_factory.mktemp('zog')
  for number in range(5):
    pixels = np.full((16, 16, 3), 40 * number, np.uint8)
    Image.fromarray(pixels).save(folder / f'{number}.png')
  for number in range(2):
    (folder / f'{number}.txt').write_text('a Zog moves left')
  return str(folder)


@pytest.fixture(scope='module')
def run(images, tiny_bundle, tmp_path_factory):
  """Return a function that makes the run of an adaptation."""

  def make(*overrides, **fields):
    fields = {'images': images, 'model': str(tiny_bundle), **fields}
    workdir = tmp_path_factory.mktemp('run')
    return adaptation(Adaptation(**fields), workdir, list(overrides)), workdir

  return make


@pytest.fixture(scope='module')
def start(tiny_bundle):
  return load(tiny_bundle)


def _new_words(experiment, start):
  return new_words(experiment, start, start.sampler.generator_params)


@pytest.fixture(scope='module')
def row(run):
  return run(character='zog', like='circle')


def test_row_is_trained_on_the_images_alone(row, start, tiny_bundle):
  experiment, workdir = row
  model = start
  assert experiment.text == dataclasses.replace(
    model.sampler.models.text, words=('zog',)
  )
  assert experiment.generator == model.sampler.models.generator
  assert experiment.task.trained == 'words'
  assert experiment.start_from == experiment.tokenizer_dir == str(tiny_bundle)
  (source,) = experiment.data.sources
  assert source.path == str(workdir / EXAMPLES)
  assert experiment.data.image_share == 1
  assert experiment.data.size == model.data.size
  validate(experiment, num_devices=8)


def test_whole_model_also_sees_the_data_of_its_training(run):
  experiment, _ = run('train.steps=7', character='zog', mode='all')
  assert [source.layout for source in experiment.data.sources] == [
    *('manifest', 'storyworld')
  ]
  # Of clips and of images, half are those of the training data.
  assert [source.weight for source in experiment.data.sources] == [1.0, 1.0]
  assert experiment.data.image_share == 0.5
  assert experiment.task.trained == 'all'
  assert experiment.train.steps == 7
  experiment, _ = run(character='zog', mode='all', prior=False)
  assert [source.layout for source in experiment.data.sources] == ['manifest']
  experiment, _ = run(mode='all', caption='a thing')
  assert experiment.text.words == ()


def test_new_row_starts_from_the_word_that_is_like_it(row, start):
  experiment, _ = row
  new = _new_words(experiment, start)
  table = start.sampler.generator_params['text']['token_embedder']['embedding']
  circle = start.sampler.vocabulary.encode('circle')
  np.testing.assert_array_equal(
    new.params['words']['words'], table[jnp.asarray(circle)].mean(0)[None]
  )
  assert {**new.params, 'words': 0} == {
    **start.sampler.generator_params,
    'words': 0,
  }
  first = start.sampler.models.text.vocab_size
  assert new.vocabulary.encode('zog') == [first]
  words = words_after(start.words, experiment)
  assert words.counts['zog'] == 5
  assert words.counts['circle'] == start.words.counts['circle']


PROMPT = ['diffusion.prompt=2', 'task.trained=prompt']


@pytest.mark.parametrize(
  ('mode', 'overrides', 'fixed'),
  [
    ('row', [], {'text', 'unet'}),
    ('all', [], set()),
    ('all', PROMPT, {'text', 'unet', 'words'}),
  ],
)
def test_a_new_word_of_a_diffusion_model_begins_as_one_it_has(
  run, diffusion_bundle, mode, overrides, fixed
):
  fields = {'character': 'zog', 'like': 'circle', 'mode': mode}
  experiment, workdir = run(*overrides, **fields, model=str(diffusion_bundle))
  validate(experiment, num_devices=8)
  assert experiment.kind == 'diffusion'
  mesh = sharding.make_mesh(experiment.mesh)
  made = assemble(experiment, workdir=workdir, mesh=mesh)
  known = load_any(diffusion_bundle).sampler
  table = known.params['text']['token_embedder']['embedding']
  row = table[jnp.asarray(known.vocabulary.encode('circle'))].mean(0)
  given = dict(made.task.given)
  np.testing.assert_array_equal(given.pop('words')['words'], row[None])
  jax.tree.map(np.testing.assert_array_equal, given, known.params)
  assert made.vocabulary.encode('zog') == [known.models.text.vocab_size]
  assert made.words.counts['zog'] == 5
  assert set(made.task.fixed) == fixed


def test_no_word_and_no_prompt_of_a_start_is_lost():
  def parts(words, prompt):
    config = DiffusionConfig(prompt=prompt)
    return {'text': TextConfig(words=words), 'diffusion': config}

  there = parts(('zog',), 4)
  assert differing_settings(there, parts(('zog', 'wug'), 4)) == []
  assert differing_settings(parts((), 0), there) == []
  assert differing_settings(there, parts(('wug', 'zog'), 8)) == [
    'diffusion.prompt is 4 there and 8 here',
    "text.words is ['zog'] there, with which ['wug', 'zog'] must begin",
  ]


def test_words_are_added_one_after_another(row, start):
  experiment, _ = row
  first = _new_words(experiment, start)
  sampler = dataclasses.replace(
    start.sampler,
    models=dataclasses.replace(start.sampler.models, text=experiment.text),
    vocabulary=first.vocabulary,
    generator_params=first.params,
  )
  words = words_after(start.words, experiment)
  start = dataclasses.replace(start, words=words, sampler=sampler)
  # Nothing is new in another run with the same words.
  again = _new_words(experiment, start)
  assert again.params == first.params
  assert again.vocabulary is first.vocabulary
  text = dataclasses.replace(experiment.text, words=('zog', 'wug'))
  second = _new_words(dataclasses.replace(experiment, text=text), start)
  rows = second.params['words']['words']
  assert rows.shape[0] == 2
  np.testing.assert_array_equal(rows[:1], first.params['words']['words'])
  assert second.vocabulary.encode('zog wug') == [
    *(text.vocab_size, text.vocab_size + 1)
  ]


@pytest.mark.parametrize(
  ('fields', 'words'),
  [
    ({'images': ''}, 'give --images DIR'),
    ({'clip': 'a.mp4', 'character': 'zog'}, 'give --images DIR'),
    ({}, 'give --character WORD, or customise in mode all'),
    ({'mode': 'all', 'like': 'red', 'caption': 'x'}, '--like is the start'),
  ],
)
def test_contradictions_are_refused(run, fields, words):
  with pytest.raises(UserError, match=words):
    run(**fields)


def test_captions_have_the_word(run):
  with pytest.raises(UserError, match=r"of 0\.png is 'a Zog moves left', from"):
    run(character='wug')


def test_files_that_cannot_be_read_are_named(run, tmp_path):
  Image.new('RGB', (16, 16)).save(tmp_path / 'a.png')
  (tmp_path / 'b.png').write_bytes(b'no image')
  with pytest.raises(UserError, match='1 of 2 files .* cannot be read'):
    run(character='zog', images=str(tmp_path))
  with pytest.raises(NotFoundError):
    run(character='zog', model=str(tmp_path / 'nowhere'))


@pytest.mark.parametrize('is_bundle', [False, True])
def test_other_models_are_refused_before_anything_is_written(
  images, tmp_path, is_bundle
):
  model, out = tmp_path / 'model', tmp_path / 'out'
  model.mkdir()
  (model / 'config.json').write_text('{"kind": "tokenizer"}')
  if is_bundle:
    (model / 'checksums.json').write_text('{}')
  words = "is a model of kind 'tokenizer'; name a generator"
  request = Adaptation(character='zog', images=images, model=str(model))
  with pytest.raises(UserError, match=f'--model={model} {words}'):
    adaptation(request, out, [])
  assert not out.exists()
  values = {'kind': 'diffusion', 'diffusion': {'values': 'residual'}}
  (model / 'config.json').write_text(json.dumps(values))
  with pytest.raises(UserError, match=f'--model={model} enlarges clips'):
    adaptation(request, out, [])
  text = {'encoder': 't5', 'vocabulary': 't5.model'}
  values = {'kind': 'diffusion', 'text': text}
  (model / 'config.json').write_text(json.dumps(values))
  with pytest.raises(UserError, match='a frozen encoder, which learns no word'):
    adaptation(request, out, [])
  assert not out.exists()
  (model / 'config.json').write_text('{"kind": "tokenizer"}')
  values = {'kind': 'generator', 'distillation': {'teacher': str(model)}}
  with pytest.raises(UserError, match=f'teacher={model} {words}'):
    resolve_values(values)


@pytest.mark.parametrize(
  ('character', 'like', 'words'),
  [
    ('circ', '', "'circ' is the beginning of 'circle'"),
    ('circle', '', "'circle' is the beginning of 'circle'"),
    ('zog', 'spaceship', "start_word is 'spaceship', but no training caption"),
  ],
)
def test_words_in_use_are_refused(row, start, character, like, words):
  experiment, _ = row
  text = dataclasses.replace(experiment.text, words=(character,))
  wrong = dataclasses.replace(experiment, text=text, start_word=like)
  with pytest.raises(UserError, match=words):
    _new_words(wrong, start)


@pytest.mark.parametrize(
  ('group', 'changes', 'words'),
  [
    ('task', {'trained': 'prompt'}, 'generator has none; set generator.prompt'),
    ('task', {'trained': 'critic'}, 'generator has none; set generator.critic'),
    ('text', {'words': ()}, 'generator has none; set text.words'),
    ('', {'start_from': ''}, "'words', which needs a trained generator"),
    ('generator', {'text_width': 0}, 'text.words is zog, but the generator'),
  ],
)
def test_what_is_trained_alone_is_there(row, group, changes, words):
  experiment, _ = row
  if group:
    part = dataclasses.replace(getattr(experiment, group), **changes)
    changes = {group: part}
  with pytest.raises(UserError, match=words):
    validate(dataclasses.replace(experiment, **changes), num_devices=8)


def test_the_same_command_resumes_the_same_run(images, tiny_bundle, tmp_path):
  request = Adaptation(character='zog', images=images, model=str(tiny_bundle))
  runs, hashes = [], []
  for _ in range(2):
    runs.append(adaptation(request, tmp_path, []))
    hashes.append(Manifest(tmp_path / EXAMPLES).hash)
  assert runs[0] == runs[1] and hashes[0] == hashes[1]


def test_a_start_without_a_new_word_is_refused(run):
  experiment, _ = run(mode='all', caption='a thing')
  wrong = dataclasses.replace(experiment, start_word='circle')
  with pytest.raises(
    UserError, match="start_word is 'circle', but there is no"
  ):
    validate(wrong, num_devices=8)


def test_words_are_added_to_trained_encoders_alone(row):
  experiment, _ = row
  task = dataclasses.replace(experiment.task, trained='all')
  new = dataclasses.replace(experiment, start_from='', task=task)
  with pytest.raises(UserError, match='words are added to a trained generator'):
    validate(new, num_devices=8)
  with pytest.raises(UserError, match='a frozen text encoder learns no word'):
    TextConfig(words=('zog',), encoder='t5')
