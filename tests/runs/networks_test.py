"""Features and distances by networks, which name themselves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from phenaki_jax.errors import UserError
from phenaki_jax.perceptual.inception import Inception
from phenaki_jax.perceptual.network import PerceptualNetwork
from phenaki_jax.runs.networks import (
  InceptionFeatures,
  _resized,
  open_features,
)


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
@pytest.mark.unoptimized
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


def test_random_clip_reads_the_centre_of_frames_and_no_texts():
  features = open_features('clip@random')
  frames = _frames(2, 64)
  sides = [(0, 0), (0, 0), (9, 9), (0, 0)]
  found = features(np.pad(frames, sides))
  assert found.shape == (2, 64)
  other = features(np.pad(frames, sides, constant_values=200))
  np.testing.assert_allclose(other, found, rtol=1e-4, atol=1e-4)
  assert np.abs(found[0] - found[1]).max() > 1e-3
  assert features.embed('a cat') is None
  assert features.describe()['weights'] == '' and not features.has_distance


def test_frames_are_resized_as_in_pytorch():
  line = jnp.broadcast_to(jnp.arange(4.0)[:, None], (1, 4, 4, 3))
  # Without antialiasing, two neighbours are read, also of four.
  small = _resized(line, 2, 'plain')[0, 0, :, 0]
  np.testing.assert_allclose(small, [0.5, 2.5], atol=1e-6)
  large = _resized(line, 8, 'plain')[0, 0, :, 0]
  np.testing.assert_allclose(large[:4], [0, 0.25, 0.75, 1.25], atol=1e-6)


def test_the_longer_side_is_rounded_down_before_the_centre_is_cut():
  rng = np.random.default_rng(0)
  pixels = rng.uniform(-0.5, 0.5, (1, 10, 6, 3)).astype(np.float32)
  # 10 rows become 6.67.
  whole = jax.image.resize(pixels, (1, 6, 4, 3), 'bicubic')
  found = _resized(jnp.asarray(pixels), 4, 'cropped')
  np.testing.assert_allclose(found, whole[:, 1:5], atol=1e-6)


def test_classes_are_those_of_the_logits_without_biases():
  rng = np.random.default_rng(0)
  kernel = rng.normal(0, 1, (6, 4)).astype(np.float32)
  network = PerceptualNetwork(
    name='inception', module=Inception(), params={'classes': kernel}
  )
  features = InceptionFeatures(network=network, side=299, resize='plain')
  vectors = rng.normal(0, 1, (3, 6)).astype(np.float32)
  expected = scipy.special.softmax(vectors @ kernel, -1)
  found = features.probabilities(vectors)
  np.testing.assert_allclose(found, expected, rtol=1e-5)
  assert features.describe()['resize'] == 'bilinear, as in pytorch-fid'


@pytest.mark.parametrize(
  ('spec', 'words'),
  [
    ('vgg19', "unknown features 'vgg19'"),
    ('i3d@random=x', 'unknown features'),
    ('i3d', 'i3d=FILE; or use i3d@random'),
    ('vgg16=none.safetensors', 'does not exist'),
    ('inception', 'inception=FILE; or use inception@random'),
    ('clip=none.safetensors', 'clip=none.safetensors does not exist.*patch32'),
  ],
)
def test_networks_that_do_not_exist_are_refused(spec, words):
  with pytest.raises(UserError, match=words):
    open_features(spec)
