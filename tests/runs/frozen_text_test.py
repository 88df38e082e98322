"""Generators with a frozen text encoder, from a cache or in the step."""

import dataclasses
import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax import config as config_lib
from phenaki_jax import rng, sharding
from phenaki_jax.errors import NotFoundError, UserError
from phenaki_jax.export import bundle as bundle_lib
from phenaki_jax.generator import Generator
from phenaki_jax.runs import assemble, experiment, export, starting, train
from phenaki_jax.runs import open as models
from phenaki_jax.runs.encode_text import TextRequest, encode_text
from phenaki_jax.runs.experiment import Experiment
from phenaki_jax.sharding import MeshConfig
from phenaki_jax.text.pretrained import load_encoder
from phenaki_jax.text.vocab import SentencePieceVocabulary
from phenaki_jax.training import compatibility
from phenaki_jax.training.checkpoint_manifest import digest_tree
from phenaki_jax.training.checkpoints import Checkpoints
from phenaki_jax.training.state import (
  TrainState,
  create_state,
  missing_leaves,
  place_frozen,
)

TORCH = pathlib.Path(__file__).parents[1] / 'golden' / 't5_torch'
CONFIG = """
import ml_collections


def get_config(arg=''):
  data = {
    'size': (16, 16),
    'frames': 9,
    'batch_size': 4,
    'image_share': 0.0,
    'continuation_share': 0.0,
    'num_threads': 0,
  }
  model = {'width': 16, 'num_layers': 1, 'num_heads': 2, 'mlp_dim': 32}
  return ml_collections.ConfigDict({
    'kind': 'generator',
    'data': data,
    'text': {'width': 99, 'max_length': 20},
    'generator': model,
    'task': {'text_dropout': 0.5},
    'sampling': {'steps': 2},
    'mesh': {'fsdp': 2},
    'train': {'steps': 3, 'log_every': 1, 'evaluate_every': 2},
  })
"""

# For the runs that train, on all devices and on images, too.
LARGER = (
  *('data.batch_size=16', 'data.image_share=0.5', 'data.row_multiple=8'),
)


def _mesh():
  return sharding.make_mesh(MeshConfig(fsdp=2), devices=jax.devices()[:2])


def _save(folder, settings, params, *, frozen):
  """Write the run directory of a model with given parameters."""
  folder.mkdir()
  (folder / experiment.CONFIG_FILE).write_text(config_lib.to_json(settings))
  checkpoints = Checkpoints(
    folder,
    keep=1,
    config=config_lib.to_dict(settings),
    identity={compatibility.FROZEN: digest_tree(frozen)},
  )
  params = jax.tree.map(jnp.asarray, params)
  count = {'count': jnp.zeros(())}
  state = TrainState(
    step=jnp.asarray(1), params=params, ema=params, opt_state=count
  )
  checkpoints.save(1, state, {})
  checkpoints.close()


def _resolve(folder, *overrides):
  places = [f'tokenizer_dir={folder / "tokenizer"}', *overrides]
  return experiment.resolve(str(folder / 'config.py'), places)


@pytest.fixture(scope='module')
def folder(tiny_sampler, tmp_path_factory):
  """Write a tokenizer, an encoder, its vocabulary, and a cache of vectors."""
  root = tmp_path_factory.mktemp('frozen')
  (root / 'config.py').write_text(CONFIG)
  tokenizer = Experiment(
    kind='tokenizer', tokenizer=tiny_sampler.models.tokenizer
  )
  params = tiny_sampler.tokenizer_params
  _save(root / 'tokenizer', tokenizer, params, frozen={})
  shutil.copytree(TORCH / 'relu', root / 'encoder')
  vocabulary = SentencePieceVocabulary.learn(['a red circle on grass'], 24)
  vocabulary.save(root / 'spiece.model')
  _encode(root, root / 'cache', captions=20)
  return root


def _encode(folder, out, *overrides, captions=None):
  request = TextRequest(
    encoder=str(folder / 'encoder'),
    vocabulary=str(folder / 'spiece.model'),
    captions=captions,
  )
  encode_text(_resolve(folder, *overrides), out, request, mesh=_mesh())


@pytest.fixture(scope='module')
def sources(folder):
  encoder = (
    f'text.encoder={folder / "encoder"}',
    f'text.vocabulary={folder / "spiece.model"}',
  )
  return {'cache': [f'text.source={folder / "cache"}'], 'encoder': encoder}


@pytest.fixture(scope='module')
def runs(folder, sources, tmp_path_factory):
  # A folder without a checkpoint, so that both runs begin.
  workdir = tmp_path_factory.mktemp('run')
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(starting, '_NUM_CAPTIONS', 20)
    return {
      name: assemble.assemble(
        _resolve(folder, *one), workdir=workdir, mesh=_mesh()
      )
      for name, one in sources.items()
    }


def _drawn(run):
  """Draw every parameter, as branches that start at zero hide the text."""
  draws = np.random.default_rng(0)
  return jax.tree.map(
    lambda leaf: jnp.asarray(
      draws.normal(size=leaf.shape) / leaf.shape[0] ** 0.5, leaf.dtype
    ),
    run.state.params,
  )


def test_losses_from_a_cache_equal_those_with_the_encoder(runs):
  batches, described = {}, {}
  for name, run in runs.items():
    assert set(run.state.params) == {'generator'}
    batch = run.open_pipeline(run.experiment.data).batch(0)
    assert ('text_vectors' in batch['clips']) == (name == 'cache')
    spec = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), run.batch)
    assert spec == jax.tree.map(lambda a: (a.shape, a.dtype), batch)
    batches[name] = batch['clips']
    described[name] = jax.eval_shape(
      run.task.loss, run.state.params, run.task.frozen, run.batch, rng.root(0)
    )
  assert described['cache'] == described['encoder']
  # The vectors that the step makes are those of the cache; what follows is the
  # same program, which runs here on tokens.
  run = runs['encoder']
  texts = {'clips': {'text': batches['encoder'].pop('text')}}
  frozen = place_frozen(run.task, run.mesh)
  made = jax.jit(run.task.tokenized)(frozen, texts)['clips']
  shape = (4, *run.experiment.generator.grid)
  tokens = np.arange(np.prod(shape), dtype=np.int32).reshape(shape) % 16
  for batch in batches.values():
    del batch['pixels']
    batch['tokens'] = tokens
  batches['encoder'] |= made
  task = runs['cache'].task
  loss = jax.jit(
    lambda clips: task.loss(params, {}, {'clips': clips}, rng.root(0))[0]
  )
  params = _drawn(runs['cache'])
  losses = {name: float(loss(clips)) for name, clips in batches.items()}
  # Captions of the evaluations are in the cache, too.
  data = dataclasses.replace(runs['cache'].experiment.data, split='heldout')
  assert runs['cache'].open_pipeline(data).batch(3)
  assert losses['cache'] == pytest.approx(losses['encoder'], rel=1e-6)
  text = {name: run.experiment.text for name, run in runs.items()}
  assert text['cache'].width == 24 and text['cache'].digest
  for name in ('digest', 'encoder', 'width', 'num_layers', 'max_length'):
    assert getattr(text['cache'], name) == getattr(text['encoder'], name)
  models = [run.vocabulary.model for run in runs.values()]
  assert models[0] == models[1]


def _save_run(run, workdir):
  """Write the run directory with drawn parameters, and return all of them."""
  params = _drawn(run)
  _save(workdir, run.experiment, params, frozen=run.task.frozen)
  run.vocabulary.save(workdir / experiment.VOCABULARY_FILE)
  (workdir / experiment.WORDS_FILE).write_bytes(run.words.to_json())
  text = run.experiment.text
  found = load_encoder(text.encoder, mesh=None, max_length=text.max_length)
  return {**params, 'text': found.params}


def _assert_has(model, params):
  jax.tree.map(
    np.testing.assert_array_equal, model.sampler.generator_params, params
  )


def test_prompts_are_encoded_with_the_recorded_encoder(
  runs, folder, tmp_path, monkeypatch
):
  workdir = tmp_path / 'run'
  params = _save_run(runs['encoder'], workdir)
  small = export.export(workdir, tmp_path / 'small')
  monkeypatch.setattr(export, '_LARGEST_ENCODER', 0)
  large = export.export(workdir, tmp_path / 'large')
  for model in (small, large):
    _assert_has(model, params)
  # A slow test tells a story with the encoder.
  sampler = small.sampler
  ids = [
    sampler.vocabulary.encode_padded(text, 20)
    for text in ('a red circle', 'grass')
  ]
  networks = Generator(
    config=sampler.models.generator, text=sampler.models.text
  )
  texts = jax.jit(networks.encode)(sampler.generator_params, np.stack(ids))
  assert texts.vectors.shape == (2, 20, 24)
  assert (texts.vectors[0] != texts.vectors[1]).any()

  shutil.move(folder / 'encoder', folder / 'moved')
  try:
    for place in (workdir, tmp_path / 'large'):
      with pytest.raises(NotFoundError, match='checkpoint with --encoder PATH'):
        models.load(place)
      with pytest.raises(UserError, match='is another one than that which'):
        models.load(place, encoder=TORCH / 'gated_gelu')
    moved = models.load(tmp_path / 'large', encoder=folder / 'moved')
    _assert_has(moved, params)
  finally:
    shutil.move(folder / 'moved', folder / 'encoder')


def test_a_run_starts_from_a_model_with_a_frozen_encoder(
  runs, folder, sources, tmp_path
):
  params = _save_run(runs['encoder'], tmp_path / 'run')
  begun = assemble.assemble(
    _resolve(folder, *sources['encoder'], f'start_from={tmp_path / "run"}'),
    workdir=tmp_path / 'new',
    mesh=_mesh(),
  )
  state = create_state(begun.task, begun.optimizer, begun.state, rng.root(0))
  assert set(state.params) == {'generator'}
  jax.tree.map(
    np.testing.assert_array_equal,
    state.params,
    {'generator': params['generator']},
  )
  task = begun.task
  assert missing_leaves(task, task.given) == []
  # A part of a network that both have is still reported.
  given = {**task.given, 'generator': dict(task.given['generator'])}
  del given['generator']['logits_bias']
  assert missing_leaves(task, given) == ['generator/logits_bias']


def test_prompts_of_a_run_with_a_cache_are_encoded(runs, tmp_path):
  params = _save_run(runs['cache'], tmp_path / 'run')
  _assert_has(models.load(tmp_path / 'run'), params)
  # The bundle holds the encoder, and names its checkpoint, but no cache.
  export.export(tmp_path / 'run', tmp_path / 'bundle')
  _assert_has(models.load(tmp_path / 'bundle'), params)
  config = bundle_lib.load_bundle(tmp_path / 'bundle').config
  text, encoder = config['text'], runs['encoder'].experiment.text.encoder
  assert runs['cache'].experiment.text.source
  assert (text['source'], text['vocabulary']) == ('', '')
  assert text['encoder'] == encoder


def test_an_encoder_that_nothing_needs_is_refused(tiny_bundle):
  with pytest.raises(UserError, match='leave --encoder out'):
    models.load(tiny_bundle, encoder=TORCH / 'relu')


@pytest.mark.parametrize(
  ('overrides', 'words'),
  [
    (['text.source={cache}', 'text.encoder={encoder}'], 'give one of them'),
    (['text.source={cache}', 'text.max_length=9'], '--length 9'),
    (['text.encoder={encoder}'], 'needs its own vocabulary'),
    (['text.vocabulary=x'], 'there is no text.encoder'),
    (['text.source={cache}', 'generator.text_width=9'], 'makes vectors of 24'),
    (['text.source={encoder}'], 'there is no cache'),
  ],
)
def test_sources_that_do_not_fit_are_refused(folder, overrides, words):
  places = {name: folder / name for name in ('cache', 'encoder')}
  overrides = [text.format(**places) for text in overrides]
  with pytest.raises(UserError, match=words):
    _resolve(folder, *overrides)


@pytest.mark.slow
@pytest.mark.unoptimized
@pytest.mark.parametrize('name', ['cache', 'encoder'])
def test_a_run_trains_and_tells_a_story(name, folder, sources, tmp_path):
  if name == 'cache':
    _encode(folder, tmp_path / 'cache', *LARGER)
    sources = {name: [f'text.source={tmp_path / "cache"}']}
  settings = _resolve(folder, *sources[name], *LARGER)
  assert train.train(settings, tmp_path / 'run') == 0
  saved = experiment.read(tmp_path / 'run')
  assert saved.text.digest
  model = models.load(tmp_path / 'run')
  assert len(model.story(['a red circle', 'grass']).frames) > 9
  settings = _resolve(folder, *sources[name], *LARGER, 'train.steps=4')
  assert train.train(settings, tmp_path / 'run') == 0
