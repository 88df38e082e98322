"""Super-resolution is learned, measured by a command, and exact."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax import sharding
from phenaki_jax.cli.main import main
from phenaki_jax.diffusion.denoiser import Denoiser
from phenaki_jax.diffusion.enlargement import reduce
from phenaki_jax.errors import UserError
from phenaki_jax.export.bundle import write_bundle
from phenaki_jax.media import mark
from phenaki_jax.media.credentials import verify
from phenaki_jax.media.mp4 import write_mp4
from phenaki_jax.media.provenance import read_provenance
from phenaki_jax.runs import enlargement, experiment, train
from phenaki_jax.runs.diffusion import bundle_config
from phenaki_jax.runs.footage import read_own_rate

CONFIG = (
  pathlib.Path(__file__).resolve().parents[2]
  / 'configs'
  / 'diffusion'
  / 'super_resolution.py:storyworld'
)
SMALL = [
  'data.size=32,32',
  *('data.batch_size=16', 'data.image_share=0.5', 'diffusion.widths=32,'),
  *('train.steps=300', 'train.evaluate_every=300', 'optim.warmup_steps=20'),
  *('train.log_every=25',),
]


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  folder = tmp_path_factory.mktemp('runs') / 'large'
  assert train.train(experiment.resolve(str(CONFIG), SMALL), folder) == 0
  return folder


def test_other_folders_enlarge_nothing(tmp_path, capsys):
  assert not enlargement.is_enlarger(None)
  assert not enlargement.is_enlarger(tmp_path)
  np.save(tmp_path / 'a.npy', np.zeros((2, 16, 16, 3), np.uint8))
  argv = ['edit', 'enlarge', str(tmp_path / 'a.npy'), '--out', 'b.mp4']
  assert main([*argv, '--model', str(tmp_path)]) == 2
  assert 'enlarge needs the --workdir of a run' in capsys.readouterr().err


@pytest.fixture(scope='module')
def untrained(tmp_path_factory):
  """Write a bundle of an untrained model, of clips of 8 frames per second."""
  folder = tmp_path_factory.mktemp('models') / 'large'
  tried = experiment.resolve(str(CONFIG), ['diffusion.widths=8,'])
  denoiser = Denoiser(config=tried.diffusion, text=tried.text)
  write_bundle(
    folder,
    tokenizer_params=None,
    generator_params=sharding.unbox(jax.jit(denoiser.init)(jax.random.key(0))),
    config=bundle_config(tried, 'large'),
    vocabulary=b'',
    model_card='# large\n',
  )
  return folder


def test_a_clip_keeps_its_frames_and_their_rate(untrained, signing, tmp_path):
  clip = np.zeros((25, 16, 16, 3), np.uint8)
  clip[:] = np.linspace(20, 220, 25).astype(np.uint8)[:, None, None, None]
  notice = {'notice': 'rendered'}
  given, film = tmp_path / 'a.mp4', tmp_path / 'b.mp4'
  write_mp4(given, clip, fps=24, provenance=notice, min_height=1)
  argv = ['edit', 'enlarge', str(given), '--model', str(untrained)]
  argv += ['--mark', '--certificate', str(signing / 'signer.pem')]
  assert main([*argv, '--out', str(film)]) == 0
  assert verify(film) == 'Valid, signed by signer'
  assert mark.score_film(film) > mark.THRESHOLD
  made = np.load(film.with_suffix('.npy'))
  assert made.shape == (25, 32, 32, 3)
  means = made.mean((1, 2, 3))
  np.testing.assert_allclose(means, clip.mean((1, 2, 3)), atol=8)
  assert read_own_rate(film, size=None, fps=1).fps == pytest.approx(24)


@pytest.mark.slow
def test_it_learns_to_beat_bicubic_enlargement(run, tmp_path):
  out = tmp_path / 'scores'
  argv = ['evaluate', '--model', str(run), '--out', str(out)]
  assert main([*argv, '--reconstructions', '16']) == 0
  found = json.loads((out / 'scores.json').read_text())['measures']
  values = {one['name']: one for one in found}
  gain = values['psnr gain over bicubic']
  assert gain['value'] > 0.7 and gain['value'] > 4 * gain['error']
  # Training measures the same.
  lines = (run / 'metrics.jsonl').read_text().splitlines()
  (psnr,) = [x['psnr'] for x in map(json.loads, lines) if 'psnr' in x]
  assert abs(psnr - values['psnr@model']['value']) < 2.0


@pytest.mark.slow
def test_a_clip_is_enlarged_by_the_command(run, tmp_path):
  frames = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3))
  np.save(tmp_path / 'a.npy', frames.astype(np.uint8))
  film = tmp_path / 'b.mp4'
  argv = ['edit', 'enlarge', str(tmp_path / 'a.npy'), '--out', str(film)]
  assert main([*argv, '--model', str(run), '--steps', '2']) == 0
  made = np.load(film.with_suffix('.npy'))
  assert made.shape == (4, 32, 32, 3)
  small = np.asarray(reduce(jnp.asarray(made, jnp.float32), 2))
  assert np.abs(small - frames).max() <= 1.0
  assert read_provenance(film)['edit']['action'] == 'enlarge'
  bundle = tmp_path / 'bundle'
  assert main(['export', '--run', str(run), '--out', str(bundle)]) == 0
  assert main([*argv, '--model', str(bundle), '--steps', '2']) == 0
  np.testing.assert_array_equal(np.load(film.with_suffix('.npy')), made)


@pytest.mark.parametrize('steps', [0, -2])
def test_steps_and_shares_are_checked(steps, tmp_path, capsys):
  np.save(tmp_path / 'a.npy', np.zeros((2, 16, 16, 3), np.uint8))
  argv = ['edit', 'enlarge', str(tmp_path / 'a.npy'), '--out', 'b.mp4']
  argv += ['--model', 'none']
  assert main([*argv, '--steps', str(steps)]) == 2
  assert f'steps is {steps}' in capsys.readouterr().err
  with pytest.raises(UserError, match=f'steps is {steps}'):
    enlargement.steps_of({'steps': steps})
  assert enlargement.steps_of({}) == 1
  with pytest.raises(UserError, match='degradation is 1.5'):
    enlargement.Enlargement(inputs=('a',), degradation=1.5)
