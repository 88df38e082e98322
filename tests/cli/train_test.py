"""`phenaki train`: what it refuses, before anything is written."""

import pathlib

import pytest

from phenaki_jax.cli import main as main_lib

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
    (['data.size=30,32'], 'no multiple of the patch'),
    (['data.frames=8'], 'a clip has 1 + 2k frames'),
    (['optim.rate=1'], 'unknown config key optim.rate'),
    (['data.batch_size=0'], 'data.batch_size is 0'),
    (['mesh.tensor=3'], 'does not fit 8 device'),
    (['kind=generator'], 'a generator needs a trained tokenizer'),
    (
      ['kind=generator', 'tokenizer_dir=nowhere'],
      'nowhere is no run directory',
    ),
    (
      ['data.source=manifest', 'data.manifest=nowhere'],
      'nowhere',
    ),
  ],
)
def test_train_refuses_in_one_sentence(tmp_path, capfd, overrides, sentence):
  workdir = tmp_path / 'run'
  assert _train(CONFIGS / 'tokenizer' / 'tiny.py', workdir, *overrides) == 2
  err = capfd.readouterr().err
  assert sentence in err
  assert err.startswith('phenaki train: ')
  assert err.count('\n') == 1
  assert not workdir.exists()
