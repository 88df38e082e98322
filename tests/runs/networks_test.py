"""Features and distances by networks, which name themselves."""

import numpy as np
import pytest

from phenaki_jax.errors import UserError
from phenaki_jax.runs.networks import open_features


def _frames(count, side=16):
  rng = np.random.default_rng(0)
  return rng.integers(0, 256, (count, side, side, 3), np.uint8)


@pytest.mark.slow
def test_features_are_of_single_frames_and_name_their_network():
  features = open_features('open_nsfw')
  frames = _frames(3)
  frames[2] = frames[0]
  found = features(frames)
  assert found.shape == (3, 1024) and found.dtype == np.float32
  np.testing.assert_allclose(found[2], found[0], rtol=1e-4, atol=1e-4)
  assert np.abs(found[1] - found[0]).max() > 0.1
  described = features.describe()
  assert described['network'] == 'open_nsfw' and described['layer'] == 'stage3'
  assert len(described['weights']) == 64
  assert not features.of_clips


@pytest.mark.slow
def test_random_networks_have_no_weights_to_name():
  clips = open_features('i3d@random')
  assert clips.of_clips and clips.describe()['weights'] == ''
  found = clips(_frames(5))
  assert found.shape == (1, 1024) and np.abs(found).max() > 0
  # Shorter clips repeat their frames.
  np.testing.assert_array_equal(found, clips(_frames(5).repeat(2, 0)))
  frames = open_features('vgg16@random')
  apart = frames.distance(_frames(2, 32), _frames(2, 32) // 2)
  assert apart.shape == (2,) and (apart > 0).all()
  same = frames.distance(_frames(2, 32), _frames(2, 32))
  np.testing.assert_allclose(same, 0, atol=1e-6)


@pytest.mark.parametrize(
  ('spec', 'words'),
  [
    ('vgg19', "unknown features 'vgg19'"),
    ('i3d@random=x', 'unknown features'),
    ('i3d', 'i3d=FILE; or use i3d@random'),
    ('vgg16=none.safetensors', 'does not exist'),
  ],
)
def test_networks_that_do_not_exist_are_refused(spec, words):
  with pytest.raises(UserError, match=words):
    open_features(spec)
