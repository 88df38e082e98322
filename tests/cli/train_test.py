"""`phenaki train` refuses wrong settings before it writes anything."""

import pathlib
import re

import jax
import numpy as np
import pytest

from phenaki_jax import config as config_lib
from phenaki_jax import sharding
from phenaki_jax.cli import main as main_lib
from phenaki_jax.runs import experiment as experiment_lib
from phenaki_jax.text.vocab import SentencePieceVocabulary
from phenaki_jax.training import compatibility
from phenaki_jax.training.checkpoint_manifest import digest_tree
from phenaki_jax.training.checkpoints import Checkpoints
from phenaki_jax.training.state import TrainState
from phenaki_jax.training.tokenizer_task import TokenizerTask

CONFIGS = pathlib.Path(__file__).resolve().parents[2] / 'configs'


def _train(config, workdir, *overrides):
  argv = ['train', '--config', str(config), '--workdir', str(workdir)]
  argv += ['--set', 'mesh.tensor=8']
  return main_lib.main(
    [*argv, *(part for text in overrides for part in ('--set', text))]
  )


@pytest.mark.parametrize(
  ('overrides', 'sentence'),
  [
    (['data.size=30,32'], 'not a multiple of the patch'),
    (['data.frames=8'], '8 frames are not'),
    (['optim.rate=1'], 'unknown config key optim.rate'),
    (['data.batch_size=0'], 'data.batch_size is 0'),
    (['mesh.tensor=3'], 'does not fit 8 device'),
    (['kind=generator'], 'a generator needs a trained tokenizer'),
    (
      ['kind=generator', 'tokenizer_dir=nowhere'],
      'nowhere is not a run directory',
    ),
  ],
)
def test_wrong_settings_end_in_one_sentence(
  tmp_path, capfd, overrides, sentence
):
  workdir = tmp_path / 'run'
  assert _train(CONFIGS / 'tokenizer' / 'tiny.py', workdir, *overrides) == 2
  err = capfd.readouterr().err
  assert sentence in err
  assert err.startswith('phenaki train: ')
  assert err.count('\n') == 1
  assert not workdir.exists()


def test_a_compilation_cache_of_others_is_refused_first(tmp_path, capfd):
  """Programs of the cache are run already when the data and models open."""
  cache, run = tmp_path / 'cache', tmp_path / 'run'
  cache.mkdir()
  cache.chmod(0o777)
  before = jax.config.values['jax_compilation_cache_dir']
  jax.config.update('jax_compilation_cache_dir', str(cache))
  try:
    # The manifest would be missed next.
    config = f'{CONFIGS}/tokenizer/lpc.py:manifest=nowhere'
    assert _train(config, run) == 2
  finally:
    jax.config.update('jax_compilation_cache_dir', before)
  assert re.search(
    'compilation cache .* permissions 777', capfd.readouterr().err
  )
  assert not run.exists() and not list(cache.iterdir())


def test_train_refuses_a_manifest_that_is_missing(tmp_path, capfd):
  config = f'{CONFIGS}/tokenizer/lpc.py:manifest=nowhere'
  assert _train(config, tmp_path / 'run') == 2
  assert 'nowhere is not a manifest' in capfd.readouterr().err


def _save(folder, experiment, params, *, step, identity):
  folder.mkdir(exist_ok=True)
  (folder / experiment_lib.CONFIG_FILE).write_text(
    config_lib.to_json(experiment)
  )
  checkpoints = Checkpoints(
    folder, keep=9, config=config_lib.to_dict(experiment), identity=identity
  )
  params = jax.tree.map(jax.numpy.asarray, params)
  state = TrainState(
    step=jax.numpy.asarray(step),
    params=params,
    ema=params,
    opt_state={'count': jax.numpy.zeros(())},
  )
  checkpoints.save(step, state, {})
  checkpoints.close()


@pytest.mark.parametrize(
  ('override', 'sentence'),
  [
    ('tokenizer.width=64', 'tokenizer.width is 128 there and 64 here'),
    ('data.size=16,16', r'data.size is \[32, 32\] there and \[16, 16\] here'),
  ],
)
def test_run_with_another_config_leaves_the_checkpoint(
  tmp_path, capfd, override, sentence
):
  config, workdir = CONFIGS / 'tokenizer' / 'tiny.py', tmp_path / 'run'
  overrides = ['mesh.tensor=4', 'data.batch_size=10', 'data.size=32,32']
  overrides += ['tokenizer.width=128']
  experiment = experiment_lib.resolve(str(config), overrides)
  params = {'kernel': np.zeros((2, 2), np.float32)}
  identity = {'data': 'that', compatibility.FROZEN: digest_tree({})}
  _save(workdir, experiment, params, step=5, identity=identity)
  files = {path: path.stat().st_mtime_ns for path in workdir.rglob('*.json')}
  assert _train(config, workdir, *overrides, override) == 2
  err = capfd.readouterr().err
  assert re.search(sentence, err) and 'Give another --workdir' in err
  assert err.count('\n') == 1
  assert files == {path: path.stat().st_mtime_ns for path in files}


def test_generator_does_not_resume_with_a_tokenizer_trained_further(
  tmp_path, capfd
):
  tokenizer, generator = tmp_path / 'tokenizer', tmp_path / 'generator'
  overrides = ['mesh.tensor=4', 'data.batch_size=20']
  trained = experiment_lib.resolve(
    str(CONFIGS / 'tokenizer' / 'tiny.py'), overrides
  )
  shapes = sharding.unbox(
    jax.eval_shape(
      TokenizerTask(config=trained.tokenizer).init, jax.random.key(0)
    )
  )
  before = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
  after = jax.tree.map(lambda leaf: leaf + 1, before)
  _save(tokenizer, trained, before, step=5, identity={})
  config = CONFIGS / 'generator' / 'tiny.py'
  overrides = [f'tokenizer_dir={tokenizer}', *overrides]
  experiment = experiment_lib.resolve(str(config), overrides)
  identity = {compatibility.FROZEN: digest_tree(before)}
  params = {'kernel': np.zeros((2, 2), np.float32)}
  _save(generator, experiment, params, step=3, identity=identity)

  vocabulary = SentencePieceVocabulary.learn(['a red circle on grass'], 20)
  vocabulary.save(generator / 'vocab.model')
  files = {path for path in generator.rglob('*')}

  # With the unchanged tokenizer only the data differs.
  assert _train(config, generator, *overrides) == 2
  assert 'belongs to another run: data is absent' in capfd.readouterr().err

  _save(tokenizer, trained, after, step=9, identity={})
  assert _train(config, generator, *overrides) == 2
  err = capfd.readouterr().err
  assert 'of this one before it was trained further' in err
  assert err.count('\n') == 1
  assert files <= set(generator.rglob('*'))
