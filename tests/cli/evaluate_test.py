"""`phenaki evaluate` writes numbers, tables and pictures."""

import dataclasses
import json
import pathlib

import jax
import numpy as np
import pytest
from PIL import Image

from phenaki_jax import config as config_lib
from phenaki_jax.cli.main import main
from phenaki_jax.data.config import DataConfig
from phenaki_jax.media.provenance import read_provenance
from phenaki_jax.runs import follow
from phenaki_jax.runs.experiment import CONFIG_FILE, Experiment
from phenaki_jax.training.checkpoint_manifest import digest_tree
from phenaki_jax.training.checkpoints import Checkpoints
from phenaki_jax.training.config import TrainConfig
from phenaki_jax.training.state import TrainState

PROTOCOLS = pathlib.Path(__file__).resolve().parents[2] / 'configs/protocols'
FEW = [
  # Two at once everywhere, so that each program compiles for one size.
  *('--prompts', '4', '--stories', '2', '--scenes', '2'),
  *('--image-only-prompts', '1', '--batch-size', '2'),
  *('--changes', '1', '--reconstructions', '2'),
]


def test_evaluate_writes_numbers_tables_and_pictures(
  tiny_bundle, tmp_path, capsys
):
  out = tmp_path / 'scores'
  call = ['evaluate', '--model', str(tiny_bundle), '--out', str(out), *FEW]
  assert main([*call, '--image-only']) == 0
  assert sorted(path.name for path in out.iterdir()) == [
    'changes.png',
    'clips.png',
    'image_only.png',
    'reconstructions.png',
    'scores.json',
    'scores.md',
    'stories.png',
  ]
  found = json.loads((out / 'scores.json').read_text())
  assert found['clips']['facts']['shape']['asked'] == 4
  assert len(found['stories']['scenes']) == 2
  assert all(v['asked'] == 1 for v in found['image_only']['values'].values())
  assert list(found['changes']) == ['shape', 'colour', 'motion', 'place']
  assert found['changes']['shape']['changed']['asked'] == 1
  assert len(found['reconstruction']['psnr_by_frame']) == 9
  assert 0 < found['reconstruction']['psnr'] < 30
  protocol = found['protocol']
  assert protocol['split'] == 'heldout' and protocol['subset'] == 'easy'
  assert protocol['settings']['steps'] == 2
  assert protocol['manifest'] == 'held-out training data'
  assert protocol['features'] == []
  stamp = found['reconstruction']['protocol']
  assert stamp['model'] == protocol['fingerprint']
  assert stamp['size'] == [16, 16] and stamp['networks'] == {}
  # Two windows: clips of 9 frames less a context of 5, twice.
  assert protocol['frames_per_scene'] == 8
  # The model is untrained.
  assert found['clips']['total']['accuracy'] < 0.7
  printed = capsys.readouterr().out
  assert (out / 'scores.md').read_text() in printed
  with Image.open(out / 'clips.png') as picture:
    assert picture.height > 9 * 96
  assert (
    read_provenance(out / 'clips.png')['fingerprint']
    == (protocol['fingerprint'])
  )

  # A second call has the same numbers, whatever else it measures.
  few = ['--stories', '0', '--changes', '0', '--reconstructions', '0']
  assert main([*call, *few]) == 0
  again = json.loads((out / 'scores.json').read_text())
  assert again['clips'] == found['clips']
  assert 'stories' not in again and 'changes' not in again
  assert main([*call, *few, '--prompts', '2', '--split', 'train']) == 0
  other = json.loads((out / 'scores.json').read_text())
  assert other['protocol']['split'] == 'train'


def test_a_run_is_followed_to_its_last_checkpoint(
  tiny_sampler, tmp_path, monkeypatch
):
  experiment = Experiment(
    kind='tokenizer',
    tokenizer=tiny_sampler.models.tokenizer,
    data=DataConfig(size=(16, 16)),
    train=TrainConfig(steps=5),
  )
  run, out = tmp_path / 'run', tmp_path / 'scores'
  run.mkdir()
  (run / CONFIG_FILE).write_text(config_lib.to_json(experiment))
  params = jax.tree.map(jax.numpy.asarray, tiny_sampler.tokenizer_params)
  zero = jax.numpy.zeros(())
  state = TrainState(
    step=jax.numpy.asarray(5),
    params=jax.tree.map(jax.numpy.zeros_like, params),
    ema=params,
    opt_state={'count': zero},
  )
  config = config_lib.to_dict(experiment)
  later = dataclasses.replace(
    state, ema=jax.tree.map(jax.numpy.zeros_like, params)
  )
  with Checkpoints(run, keep=2, config=config, identity={}) as checkpoints:
    checkpoints.save(5, state, {})
    # One that comes between the look at the folder and the reading.
    checkpoints.save(6, later, {})
  monkeypatch.setattr(follow.checkpoint_files, 'finished', lambda folder: [5])
  call = ['evaluate', '--model', str(run), '--out', str(out)]
  assert main([*call, '--follow', '1', '--reconstructions', '2']) == 0
  found = json.loads((out / '5' / 'scores.json').read_text())
  assert found['reconstruction']['clips'] == 2
  assert found['protocol']['model'].endswith('at step 5')
  # Those of the averaged weights.
  assert found['protocol']['fingerprint'] == digest_tree(
    jax.tree.map(np.asarray, params)
  )


@pytest.mark.slow
def test_features_and_protocols_give_numbers_with_their_protocol(
  tiny_bundle, tmp_path
):
  out = tmp_path / 'scores'
  call = ['evaluate', '--model', str(tiny_bundle), '--out', str(out)]
  call += ['--features', 'vgg16@random']
  clip = ['--features', 'clip@random']
  few = [*clip, '--prompts', '2', '--stories', '0', '--changes', '0']
  assert main([*call, *few, '--reconstructions', '2']) == 0
  found = json.loads((out / 'scores.json').read_text())
  frechet, kernel, *of_clip = found['measures']
  names = [measure['name'] for measure in of_clip]
  # The texts of random networks mean nothing.
  assert names == ['fid@random', 'kid@random', 'frame_consistency@random']
  assert of_clip[-1]['protocol']['samples'] == {'generated': 2}
  assert -1 <= of_clip[-1]['value'] <= 1
  assert (frechet['name'], kernel['name']) == ('fid@random', 'kid@random')
  assert frechet['protocol']['samples'] == {'generated': 2, 'real': 2}
  assert frechet['protocol']['network'] == 'vgg16'
  assert found['reconstruction']['lpips@random'] > 0
  stamp = found['reconstruction']['protocol']
  assert stamp['real'] == frechet['protocol']['real']
  assert stamp['real'] == found['protocol']['manifest']
  assert found['protocol']['features'] == ['vgg16@random', 'clip@random']
  lpips = stamp['networks']['lpips@random']
  assert lpips['weights'] == frechet['protocol']['weights']
  assert stamp['size'] == [16, 16] and lpips['resize'] == 'none'
  assert '| fid@random |' in (out / 'scores.md').read_text()
  path = tmp_path / 'short.py'
  path.write_text(
    'def get_protocol(arg):\n'
    "  return {'name': 'short', 'source': 'none', 'task': 'text', "
    "'size': (16, 16), 'measured_size': (16, 16), 'fps': 8.0, 'frames': 5, "
    "'clips': 9}\n"
  )
  assert main([*call, '--protocol', str(path), '--clips', '2']) == 0
  found = json.loads((out / 'scores.json').read_text())
  assert found['measures'][0]['protocol']['protocol']['clips'] == 2


BAD = {
  'nothing': (
    [
      *('--prompts', '0', '--stories', '0'),
      *('--changes', '0', '--reconstructions', '0'),
    ],
    'there is nothing to evaluate',
  ),
  'below zero': (['--prompts', '-1'], 'prompts is -1; it must be at least 0'),
  'no reconstructions': (
    ['--reconstructions', '-2'],
    'reconstructions is -2; it must be at least 0',
  ),
  'no stories': (['--stories', '-1'], 'stories is -1; it must be at least 0'),
  'no image-only prompts': (
    ['--image-only', '--image-only-prompts', '0'],
    'image_only_prompts is 0; it must be at least 1',
  ),
  'no clips to compare': (
    ['--frechet', '--prompts', '0'],
    'frechet compares the clips of single prompts, but prompts is 0',
  ),
  'nothing to compare': (
    ['--features', 'i3d', '--prompts', '0', '--reconstructions', '0'],
    'prompts and reconstructions are 0',
  ),
  'unknown features': (['--features', 'vgg19'], "unknown features 'vgg19'"),
  'protocol alone': (
    ['--protocol', str(PROTOCOLS / 'bair.py')],
    '--protocol needs --features',
  ),
  'protocol with other options': (
    [
      *('--protocol', str(PROTOCOLS / 'bair.py'), '--features', 'i3d@random'),
      *('--guidance', '2', '--prompts', '4'),
    ],
    'takes no --prompts, --guidance; leave them out',
  ),
  'clips without a protocol': (
    ['--clips', '2'],
    '--clips is 2, but it shortens a --protocol',
  ),
  'features of clips alone': (
    [
      *('--features', 'i3d@random', '--prompts', '0'),
      *('--reconstructions', '2'),
    ],
    'i3d@random compare clips of single prompts, of which there are 0',
  ),
  'features without a distance': (
    [
      *('--features', 'clip@random', '--prompts', '0'),
      *('--reconstructions', '2'),
    ],
    'clip@random compare clips of single prompts, of which there are 0',
  ),
  'a set without networks': (
    ['--story-set', 'x.h5'],
    'give the number of stories, and --features NAME',
  ),
  'a set and prompts': (
    [
      *('--story-set', 'x.h5', '--features', 'vgg16@random'),
      *('--prompts', '4', '--world', 'lpc', '--image-only-prompts', '2'),
    ],
    'takes no --prompts, --image-only-prompts, --world; leave them out',
  ),
  'a task without a set': (
    ['--task', 'continuation'],
    '--task is continuation, which is one of --story-set',
  ),
  'no set': (
    ['--story-set', 'x.h5', '--features', 'vgg16@random'],
    'there is no file x.h5',
  ),
  'follow a bundle': (['--follow', '1'], 'is no run directory'),
  'no batch': (['--batch-size', '0'], 'batch_size is 0; it must be at least 1'),
  'no scenes': (['--scenes', '0'], 'scenes is 0; it must be at least 1'),
  'unknown subset': (['--subset', 'hard'], "unknown subset 'hard'"),
  'a file': (['--out', 'file'], 'is a file'),
  'no model': (['--model', 'none'], 'there is no folder none'),
}


@pytest.mark.parametrize(('flags', 'words'), BAD.values(), ids=BAD)
def test_wrong_arguments_end_in_one_sentence(
  tiny_bundle, tmp_path, monkeypatch, capsys, flags, words
):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'file').write_text('x')
  call = ['evaluate', '--model', str(tiny_bundle), '--out', 'scores', *flags]
  assert main(call) == 2
  error = capsys.readouterr().err
  assert words in error and 'Traceback' not in error
  assert [path.name for path in tmp_path.iterdir()] == ['file']
