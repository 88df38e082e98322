"""Caches of tokens: training from them equals training from pixels."""

import dataclasses
import functools
import json

import jax
import numpy as np
import pytest

from phenaki_jax import config as config_lib
from phenaki_jax import rng, sharding
from phenaki_jax.data import record_cache
from phenaki_jax.errors import UserError
from phenaki_jax.runs import assemble, encode, experiment, train
from phenaki_jax.runs.experiment import Experiment
from phenaki_jax.sharding import MeshConfig
from phenaki_jax.text.vocab import SentencePieceVocabulary
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.training import checkpoint_files
from phenaki_jax.training.checkpoints import Checkpoints
from phenaki_jax.training.state import TrainState, place_frozen

DATA = {
  'size': (16, 16),
  'frames': 5,
  'context_frames': 3,
  'batch_size': 16,
  'image_share': 0.5,
  'num_threads': 0,
}
TOKENIZER = {
  'width': 16,
  'num_heads': 2,
  'mlp_dim': 32,
  'spatial_layers': 1,
  'temporal_layers': 1,
  'fsq_levels': (5, 4, 3),
}


def _write_tokenizer(folder, seed):
  """Write the run directory of a tokenizer with random parameters."""
  settings = config_lib.build(
    Experiment, {'kind': 'tokenizer', 'data': DATA, 'tokenizer': TOKENIZER}
  )
  folder.mkdir()
  (folder / experiment.CONFIG_FILE).write_text(config_lib.to_json(settings))
  run = assemble.assemble_abstract(settings, mesh=_mesh())
  draws = np.random.default_rng(seed)
  params = jax.tree.map(
    lambda leaf: jax.numpy.asarray(
      draws.normal(size=leaf.shape) / leaf.shape[0] ** 0.5, leaf.dtype
    ),
    run.state.params,
  )
  checkpoints = Checkpoints(
    folder, keep=1, config=config_lib.to_dict(settings), identity={}
  )
  state = TrainState(
    step=jax.numpy.asarray(1),
    params=params,
    ema=params,
    opt_state={'count': jax.numpy.zeros(())},
  )
  checkpoints.save(1, state, {})
  checkpoints.close()
  return str(folder)


@functools.cache
def _mesh():
  return sharding.make_mesh(MeshConfig(), devices=jax.devices()[:1])


def _settings(
  tokenizer_dir, *, cache='', reencoded=0.5, slots=2, role='history', **data
):
  tokenizer = TokenizerConfig(**TOKENIZER)
  return config_lib.build(
    Experiment,
    {
      'kind': 'generator',
      'tokenizer_dir': tokenizer_dir,
      'tokenizer': TOKENIZER,
      'data': {**DATA, 'token_cache': cache, **data},
      'text': {'width': 16, 'num_layers': 1, 'mlp_dim': 32, 'vocab_size': 64},
      'generator': {
        'width': 16,
        'num_layers': 1,
        'num_heads': 2,
        'mlp_dim': 32,
        'codebook_size': tokenizer.codebook_size,
        'code_levels': tokenizer.code_levels,
        'grid': tokenizer.grid(5, (16, 16)),
        'ports': {
          'memory': (role,),
          'memory_every': 1,
          'memory_slots': slots,
        },
      },
      'task': {
        'prediction_frames': 3,
        'reencoded_context': reencoded,
        f'{role}_share': 0.5,
      },
      'train': {'steps': 3, 'log_every': 1, 'checkpoint_every': 3},
    },
  )


def _content(folder):
  return {
    path.name: path.read_bytes()
    for path in folder.iterdir()
    if path.name != '.lock'
  }


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """Write a tokenizer, and a cache of three steps in two files per part."""
  root = tmp_path_factory.mktemp('encode')
  # The vocabulary of a run with a finished checkpoint is read, not learned.
  (root / 'checkpoints' / '1').mkdir(parents=True)
  (root / 'checkpoints' / '1' / checkpoint_files.MANIFEST).touch()
  vocabulary = SentencePieceVocabulary.learn(['a red circle on grass'], 40)
  vocabulary.save(root / experiment.VOCABULARY_FILE)
  _write_tokenizer(root / 'tokenizer', seed=0)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(record_cache, 'STEPS_PER_FILE', 2)
    settings = _settings(str(root / 'tokenizer'))
    encode.encode_tokens(settings, root / 'tokens', steps=3, mesh=_mesh())
    yield root


def _run(folder, **fields):
  settings = _settings(str(folder / 'tokenizer'), **fields)
  return assemble.assemble(settings, workdir=folder, mesh=_mesh())


@pytest.fixture(scope='module')
def runs(folder):
  return {
    'pixels': _run(folder),
    'tokens': _run(folder, cache=str(folder / 'tokens')),
  }


def _pipeline(run):
  return run.open_pipeline(run.experiment.data)


def test_loss_takes_tokens_as_it_takes_pixels(runs):
  described = {
    name: jax.eval_shape(
      run.task.loss, run.state.params, run.task.frozen, run.batch, rng.root(0)
    )
    for name, run in runs.items()
  }
  assert 'pixels' not in runs['tokens'].batch['clips']
  assert described['tokens'] == described['pixels']


def test_batches_hold_the_tokens_of_the_examples_of_their_step(runs):
  pixels = _pipeline(runs['pixels'])
  tokens = _pipeline(runs['tokens'])
  task, differing, remembered = runs['pixels'].task, 0, 0
  frozen = place_frozen(task, _mesh())
  task = dataclasses.replace(task, tokenizer_params=None)
  names = ('pixels', 'context_frames', 'history_pixels', 'history_text')
  for step in range(3):
    whole = pixels.batch(step)
    batch = {
      part: {name: arrays[name] for name in names if name in arrays}
      for part, arrays in whole.items()
    }
    batch = sharding.global_batch(batch, _mesh())
    wanted = jax.device_get(encode.tokenized(task, frozen, batch))
    found = tokens.batch(step)
    # Earlier scenes come as tokens, too; slots without one are padding.
    history = found['clips'].pop('history_tokens')
    history = history.reshape(*history.shape[:2], -1)
    for slot in range(2):
      has_scene = found['clips']['history_count'] > slot
      np.testing.assert_array_equal(
        history[has_scene, slot],
        wanted['clips']['history'][has_scene, slot],
      )
      assert not history[~has_scene, slot].any()
    remembered += found['clips']['history_count'].sum()
    for part, arrays in found.items():
      for name, array in arrays.items():
        expected = wanted[part].get(name, whole[part].get(name))
        np.testing.assert_array_equal(array, expected)
    clips = found['clips']
    differing += (clips['tokens'] != clips['reencoded']).sum()
  assert differing, 'some context frames have other tokens after decoding'
  assert remembered, 'some clips have earlier scenes'
  described = jax.tree.map(lambda a: (a.shape, a.dtype), tokens.batch(4))
  assert described == jax.tree.map(
    lambda a: (a.shape, a.dtype), dict(runs['tokens'].batch)
  )
  assert 'last for 3 steps' in tokens.describe(3)
  assert tokens.fingerprint != pixels.fingerprint
  assert runs['tokens'].vocabulary.model == runs['pixels'].vocabulary.model


def test_other_batches_are_made_of_the_same_cache(folder):
  run = _run(
    folder, cache=str(folder / 'tokens'), batch_size=24, image_share=1 / 3
  )
  batch = _pipeline(run).batch(0)
  assert batch['clips']['tokens'].shape[0] == 16
  whole = _run(folder, cache=str(folder / 'tokens'), reencoded=0.0)
  first = [_pipeline(whole).batch(step)['clips'] for step in range(2)]
  assert 'reencoded' not in first[0]
  np.testing.assert_array_equal(
    batch['clips']['tokens'], np.concatenate([one['tokens'] for one in first])
  )


def test_pictures_of_a_character_are_in_the_same_cache(folder, runs):
  run = _run(folder, cache=str(folder / 'tokens'), role='character')
  jax.tree.map(
    np.testing.assert_array_equal,
    _pipeline(run).batch(0),
    _pipeline(runs['tokens']).batch(0),
  )
  rows = jax.eval_shape(run.task.rows, run.frozen, run.batch, rng.described())
  assert rows.conditions.memory.keys() == {'character'}


def test_interrupted_build_goes_on_and_equals_a_clean_one(
  folder, tmp_path, monkeypatch
):
  settings = _settings(str(folder / 'tokenizer'))
  write = record_cache.CacheWriter.write

  def stop(self, start, examples):
    if start:
      raise KeyboardInterrupt
    write(self, start, examples)

  monkeypatch.setattr(record_cache.CacheWriter, 'write', stop)
  with pytest.raises(KeyboardInterrupt):
    encode.encode_tokens(settings, tmp_path, steps=3, mesh=_mesh())
  assert len(_content(tmp_path)) == 3
  monkeypatch.undo()
  monkeypatch.setattr(record_cache, 'STEPS_PER_FILE', 2)
  encode.encode_tokens(settings, tmp_path, steps=3, mesh=_mesh())
  assert _content(tmp_path) == _content(folder / 'tokens')


def test_stale_caches_are_refused(folder, tmp_path):
  cache = str(folder / 'tokens')
  with pytest.raises(UserError, match='data.seed is 0 there and 1 here'):
    _pipeline(_run(folder, cache=cache, seed=1))
  with pytest.raises(UserError, match='data.history is 2 there and 3 here'):
    _pipeline(_run(folder, cache=cache, slots=3))
  other = _write_tokenizer(tmp_path / 'other', seed=1)
  settings = _settings(other, cache=cache)
  run = assemble.assemble(settings, workdir=folder, mesh=_mesh())
  with pytest.raises(UserError, match='tokenizer_params is'):
    _pipeline(run)


def test_cache_without_reencoded_contexts_does_not_fit(folder, tmp_path):
  info = record_cache.CacheInfo.read(folder / 'tokens', 'tokens')
  for path in (folder / 'tokens').glob('*.array_record'):
    (tmp_path / path.name).symlink_to(path)
  lacking = dataclasses.replace(
    info, details={**info.details, 'reencoded': False}
  )
  (tmp_path / record_cache.CACHE_FILE).write_bytes(lacking.to_json())
  with pytest.raises(UserError, match='task.reencoded_context is 0.5, but'):
    _pipeline(_run(folder, cache=str(tmp_path)))


def test_only_generators_encode_and_use_a_cache(folder, tmp_path):
  settings = config_lib.build(
    Experiment,
    {
      'kind': 'tokenizer',
      'data': {**DATA, 'token_cache': str(folder / 'tokens')},
    },
  )
  run = assemble.assemble(settings, workdir=tmp_path, mesh=_mesh())
  with pytest.raises(UserError, match='pixels; leave data.token_cache'):
    _pipeline(run)
  with pytest.raises(UserError, match='the config is of a tokenizer'):
    encode.encode_tokens(settings, tmp_path / 'out', steps=1, mesh=_mesh())


@pytest.mark.slow
@pytest.mark.unoptimized
def test_runs_from_tokens_and_from_pixels_log_the_same(folder, tmp_path):
  logged = {}
  for cache in ('', str(folder / 'tokens')):
    workdir = tmp_path / f'run{len(logged)}'
    settings = _settings(str(folder / 'tokenizer'), cache=cache, row_multiple=8)
    assert train.train(settings, workdir) == 0
    lines = (workdir / 'metrics.jsonl').read_text().splitlines()
    # The unigram loss counts the tokens of 32 training batches, more than the
    # cache has, and its repeated ones are others.
    logged[cache] = [
      {
        key: value
        for key, value in json.loads(line).items()
        if 'loss' in key and 'unigram' not in key
      }
      for line in lines
    ]
  one, other = logged.values()
  assert len(one) >= 3 and one == other
