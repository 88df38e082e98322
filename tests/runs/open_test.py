import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

from phenaki_jax import config as config_lib
from phenaki_jax.cli.main import main
from phenaki_jax.data.config import DataConfig
from phenaki_jax.errors import NotFoundError, UserError
from phenaki_jax.export import bundle as bundle_lib
from phenaki_jax.runs import experiment as experiment_lib
from phenaki_jax.runs import export
from phenaki_jax.runs import open as models
from phenaki_jax.runs.experiment import Experiment
from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.text.words import Words
from phenaki_jax.training import compatibility
from phenaki_jax.training.checkpoint_manifest import digest_tree
from phenaki_jax.training.checkpoints import CheckpointError, Checkpoints
from phenaki_jax.training.state import TrainState


def _rewrite(source, target, **changes):
  bundle = bundle_lib.load_bundle(source)
  values = {
    'tokenizer_params': bundle.tokenizer_params,
    'generator_params': bundle.generator_params,
    'config': bundle.config,
    'vocabulary': bundle.vocabulary,
    'model_card': bundle.model_card,
  }
  bundle_lib.write_bundle(target, **{**values, **changes})


def _clips(model):
  return model.sampler.clips(
    ['a red circle'],
    size=model.defaults.size,
    seeds=[1],
    settings=model.defaults.settings,
  )


def test_bundle_generates_the_clips_of_its_model(tiny_bundle, tiny_sampler):
  model = models.load(tiny_bundle)
  assert model.name == 'tiny' and model.subset == 'easy'
  assert model.defaults.size == (16, 16)
  assert model.defaults.context_frames == 5
  assert model.defaults.settings.steps == 2
  same = dataclasses.replace(model, sampler=tiny_sampler)
  np.testing.assert_array_equal(_clips(model), _clips(same))


def test_shipped_models_have_names(tmp_path, monkeypatch, tiny_bundle):
  monkeypatch.chdir(tmp_path)
  story = models.load('storyworld')
  assert story.fingerprint == models.load().fingerprint
  lpc = models.load('lpc')
  assert lpc.words.unknown('a woman with long pink hair in the snow') == {}
  assert lpc.fingerprint != story.fingerprint
  shutil.copytree(tiny_bundle, 'lpc')
  assert models.load('lpc').name == 'tiny', 'a folder comes first'


def test_a_cpu_computes_in_float32(tiny_bundle, tmp_path):
  config = bundle_lib.load_bundle(tiny_bundle).config
  for part in ('tokenizer', 'generator'):
    config[part] = {**config[part], 'dtype': 'bfloat16'}
  _rewrite(tiny_bundle, tmp_path, config=config)
  opened = models.load(tmp_path).sampler.models
  assert opened.tokenizer.dtype == opened.generator.dtype == 'float32'


def _save_run(folder, experiment, params, *, frozen):
  folder.mkdir()
  (folder / 'config.json').write_text(config_lib.to_json(experiment))
  params = jax.tree.map(jax.numpy.asarray, params)
  keeper = Checkpoints(
    folder,
    keep=1,
    config=config_lib.to_dict(experiment),
    identity={compatibility.FROZEN: digest_tree(frozen)},
  )
  worse = jax.tree.map(jax.numpy.zeros_like, params)
  # The model uses the EMA, not the parameters of the last step.
  state = TrainState(
    step=jax.numpy.asarray(7),
    params=worse,
    ema=params,
    opt_state={'count': jax.numpy.zeros(())},
  )
  keeper.save(7, state, {})
  keeper.close()


@pytest.fixture
def run_dir(tiny_sampler, tmp_path):
  shapes = tiny_sampler.models
  common = {'tokenizer': shapes.tokenizer, 'data': DataConfig(size=(16, 16))}
  _save_run(
    tmp_path / 'tokenizer',
    Experiment(kind='tokenizer', **common),
    tiny_sampler.tokenizer_params,
    frozen={},
  )
  _save_run(
    tmp_path / 'generator',
    Experiment(
      kind='generator',
      name='mine',
      tokenizer_dir=str(tmp_path / 'tokenizer'),
      text=shapes.text,
      generator=shapes.generator,
      sampling=SamplingSettings(steps=2),
      **common,
    ),
    tiny_sampler.generator_params,
    frozen=tiny_sampler.tokenizer_params,
  )
  tiny_sampler.vocabulary.save(tmp_path / 'generator' / 'vocab.model')
  # Otherwise each model that is opened would count its words.
  words = bundle_lib.reference_dir() / 'words.json'
  shutil.copy(words, tmp_path / 'generator' / 'words.json')
  return tmp_path / 'generator'


def test_run_generates_the_clips_of_its_model(run_dir, tiny_sampler):
  model = models.load(run_dir)
  assert model.name == 'mine at step 7'
  assert model.defaults.settings.steps == 2
  same = dataclasses.replace(model, sampler=tiny_sampler)
  np.testing.assert_array_equal(_clips(model), _clips(same))
  assert models.load(run_dir).fingerprint == model.fingerprint

  # A model with another vocabulary has another fingerprint.
  path = run_dir / 'vocab.model'
  from phenaki_jax.text.vocab import SentencePieceVocabulary

  SentencePieceVocabulary.learn(['a green star'], 20).save(path)
  assert models.load(run_dir).fingerprint != model.fingerprint


def test_run_whose_tokenizer_was_trained_further_is_refused(
  run_dir, tiny_sampler
):
  folder = run_dir.parent / 'tokenizer'
  experiment = experiment_lib.read(folder)
  before = models.load(run_dir).fingerprint
  shutil.move(folder, folder.with_name('before'))
  params = jax.tree.map(lambda leaf: leaf + 1, tiny_sampler.tokenizer_params)
  _save_run(folder, experiment, params, frozen={})
  with pytest.raises(ValueError, match='of another tokenizer than that') as no:
    models.load(run_dir)
  assert 'at step 7' in str(no.value) and 'phenaki export' in str(no.value)

  # The earlier parameters are accepted again.
  shutil.rmtree(folder)
  shutil.move(folder.with_name('before'), folder)
  assert models.load(run_dir).fingerprint == before


def test_run_of_a_tokenizer_is_refused(run_dir):
  with pytest.raises(ValueError, match='name the run of a generator'):
    models.load(run_dir.parent / 'tokenizer')


def test_run_without_its_tokenizer_is_refused(run_dir):
  shutil.rmtree(run_dir.parent / 'tokenizer' / 'checkpoints')
  with pytest.raises(CheckpointError, match='no usable checkpoint'):
    models.load(run_dir)
  shutil.rmtree(run_dir.parent / 'tokenizer')
  with pytest.raises(NotFoundError, match='name its run directory with --tok'):
    models.load(run_dir)


def _set_tokenizer_dir(run_dir, place):
  path = run_dir / 'config.json'
  path.write_text(
    json.dumps({**json.loads(path.read_text()), 'tokenizer_dir': place})
  )


def test_tokenizer_is_found_from_the_run_and_from_the_current_folder(
  run_dir, tmp_path, monkeypatch
):
  fingerprints = []
  (tmp_path / 'elsewhere').mkdir()
  monkeypatch.chdir(tmp_path / 'elsewhere')
  # As this release saves it, as earlier ones did, and as an absolute path.
  for place in ('../tokenizer', '../generator/../tokenizer'):
    _set_tokenizer_dir(run_dir, place)
    fingerprints.append(models.load(run_dir).fingerprint)
  monkeypatch.chdir(tmp_path)
  _set_tokenizer_dir(run_dir, 'tokenizer')
  fingerprints.append(models.load(run_dir).fingerprint)
  monkeypatch.chdir(tmp_path / 'elsewhere')
  with pytest.raises(NotFoundError, match='generator/tokenizer and tokenizer'):
    models.load(run_dir)
  shutil.move(tmp_path / 'tokenizer', tmp_path / 'moved')
  moved = models.load(run_dir, tokenizer=tmp_path / 'moved')
  fingerprints.append(moved.fingerprint)
  assert len(set(fingerprints)) == 1

  export.export(run_dir, 'bundle', tokenizer=tmp_path / 'moved')
  with pytest.raises(UserError, match='leave --tokenizer out'):
    models.load('bundle', tokenizer=tmp_path / 'moved')


def test_films_of_a_bundle_carry_its_licence(run_dir, tmp_path):
  out, name = tmp_path / 'bundle', 'CC0, https://example.org'
  call = ['export', '--run', str(run_dir), '--out', str(out)]
  assert main([*call, '--license', name]) == 0
  model = models.load(out)
  assert model.provenance['license'] == name
  assert model.story(['a star'], frames=1).provenance['license'] == name
  assert 'license' not in models.load(run_dir).provenance


def test_words_of_a_run_are_exported(run_dir, tmp_path, monkeypatch):
  words = Words.count(['a green star'])
  (run_dir / 'words.json').write_bytes(words.to_json())
  assert models.load(run_dir).words == words
  model = export.export(run_dir, tmp_path / 'bundle')
  assert model.words == words
  # They do not change what the model generates, nor its name for that.
  other_words = bundle_lib.reference_dir() / 'words.json'
  shutil.copy(other_words, run_dir / 'words.json')
  other = export.export(run_dir, tmp_path / 'bundle')
  assert other.fingerprint == model.fingerprint
  (run_dir / 'words.json').write_bytes(b'{}')
  with pytest.raises(UserError, match='words.json is damaged'):
    models.load(run_dir)


def test_a_bundle_does_not_say_where_the_caches_of_its_training_are(
  run_dir, tmp_path
):
  path = run_dir / 'config.json'
  content = json.loads(path.read_text())
  before = models.load(run_dir).fingerprint
  content['data']['token_cache'] = str(tmp_path / 'tokens')
  path.write_text(json.dumps(content))
  export.export(run_dir, tmp_path / 'bundle')
  for file in (tmp_path / 'bundle').iterdir():
    assert str(tmp_path).encode() not in file.read_bytes(), file.name
  assert models.load(run_dir).fingerprint == before


def test_bundles_that_ship_name_no_folder_of_a_machine():
  for name in bundle_lib.SHIPPED:
    bundle = bundle_lib.load_bundle(bundle_lib.reference_dir(name))
    for value in _strings(bundle.config):
      assert not value.startswith(('/', '~')), (name, value)


def _strings(values):
  """Return all strings of a JSON value."""
  if isinstance(values, dict):
    values = list(values.values())
  if isinstance(values, list):
    return [found for one in values for found in _strings(one)]
  return [values] if isinstance(values, str) else []


def test_words_of_earlier_models_are_those_of_storyworld(tiny_bundle, tmp_path):
  _rewrite(tiny_bundle, tmp_path / 'earlier')
  words = models.load(tmp_path / 'earlier').words
  assert words.unknown('a red circle moves left') == {}
  assert words.unknown('a purple dragon') == {'purple': [], 'dragon': []}
  config = json.loads(json.dumps(bundle_lib.load_bundle(tiny_bundle).config))
  source = {'layout': 'manifest', 'path': 'elsewhere'}
  config['data']['sources'] = [source]
  _rewrite(tiny_bundle, tmp_path / 'other', config=config)
  assert models.load(tmp_path / 'other').words is None


def _upload(folder, place):
  for path in folder.rglob('*'):
    if path.is_file():
      target = place / str(path.relative_to(folder))
      target.write_bytes(path.read_bytes())


def test_bundle_in_a_bucket_opens_as_a_local_one(tiny_bundle, bucket):
  _upload(tiny_bundle, bucket / 'tiny')
  model = models.load('gs://bucket/tiny')
  assert model.fingerprint == models.load(tiny_bundle).fingerprint
  with pytest.raises(NotFoundError, match='no folder gs://bucket/none'):
    models.load('gs://bucket/none')


def test_run_without_a_vocabulary_is_refused(run_dir):
  (run_dir / 'vocab.model').unlink()
  with pytest.raises(ValueError, match='no vocabulary'):
    models.load(run_dir)


@pytest.mark.parametrize(
  ('part', 'changes', 'words'),
  [
    ('tokenizer', {'width': 32}, 'the tokenizer does not fit its config'),
    ('generator', {'num_layers': 2}, 'should be'),
    ('generator', {'codebook_size': 17}, 'the tokenizer has 16'),
    ('generator', {'grid': [5, 3, 2]}, 'token grid'),
    ('text', {'vocab_size': 10}, 'the vocabulary has'),
    ('text', {'width': 8}, 'the generator does not fit its config'),
    ('text', {'widht': 8}, 'width'),
  ],
)
def test_parts_that_do_not_fit_are_refused(
  tiny_bundle, tmp_path, part, changes, words
):
  config = json.loads(json.dumps(bundle_lib.load_bundle(tiny_bundle).config))
  config[part].update(changes)
  _rewrite(tiny_bundle, tmp_path / 'other', config=config)
  with pytest.raises(ValueError, match=words):
    models.load(tmp_path / 'other')


def test_missing_array_is_named(tiny_bundle, tmp_path):
  bundle = bundle_lib.load_bundle(tiny_bundle)
  params = {'text': bundle.generator_params['text']}
  _rewrite(tiny_bundle, tmp_path / 'other', generator_params=params)
  with pytest.raises(ValueError, match='is missing and should be'):
    models.load(tmp_path / 'other')


@pytest.mark.parametrize('config', [{}, {'name': 'x'}, {'kind': 'y'}])
def test_bundle_of_something_else_is_refused(tiny_bundle, tmp_path, config):
  _rewrite(tiny_bundle, tmp_path / 'other', config=config)
  with pytest.raises(ValueError, match='describes no story model'):
    models.load(tmp_path / 'other')


def test_missing_folder_is_refused(tmp_path):
  with pytest.raises(FileNotFoundError, match='or storyworld or lpc'):
    models.load(tmp_path / 'none')
  with pytest.raises(ValueError, match='not a bundle'):
    models.load(tmp_path)
