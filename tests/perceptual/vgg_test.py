"""VGG16 and LPIPS equal PyTorch's classes on drawn weights."""

import functools
import pathlib

import drawn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from phenaki_jax.errors import UserError
from phenaki_jax.perceptual import vgg
from phenaki_jax.perceptual.config import PerceptualConfig
from phenaki_jax.perceptual.distances import image_distance
from phenaki_jax.perceptual.weights import image_network

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden' / 'perceptual.npz'


def _shapes():
  """Return the shapes of `lpips.LPIPS(net='vgg')`, by name."""
  shapes, number, width = {}, 0, 3
  for stage, (channels, count) in enumerate(vgg._STAGES):
    number += stage > 0
    for _ in range(count):
      name = f'net.slice{stage + 1}.{number}'
      shapes[f'{name}.weight'] = (channels, width, 3, 3)
      shapes[f'{name}.bias'] = (channels,)
      number, width = number + 2, channels
    shapes[f'lin{stage}.model.1.weight'] = (1, channels, 1, 1)
  return shapes


@pytest.fixture(scope='module')
def network(tmp_path_factory):
  path = tmp_path_factory.mktemp('weights') / 'vgg16.safetensors'
  safetensors.numpy.save_file(drawn.draw(_shapes(), 0), path)
  return image_network(PerceptualConfig(image_weights=str(path)))


@pytest.mark.slow
def test_it_equals_pytorch(network):
  golden = np.load(GOLDEN)
  assert sorted(_shapes()) == list(golden['vgg_names'])
  one, other = (jnp.asarray(drawn.pixels(2, 32, 48, 3, seed=s)) for s in (1, 2))
  distance = jax.jit(functools.partial(image_distance, network))
  found = distance(network.params, one, other)
  np.testing.assert_allclose(found, golden['lpips'], rtol=1e-4)
  assert len(network.checksum) == 64
  assert np.abs(distance(network.params, one, one)).max() < 1e-9


def test_a_missing_file_is_refused_with_its_source():
  with pytest.raises(UserError, match='image_weights, which is empty.*lpips'):
    image_network(PerceptualConfig())
  with pytest.raises(UserError, match='image_weights=x does not exist'):
    image_network(PerceptualConfig(image_weights='x'))


def test_a_file_of_another_network_is_refused(tmp_path):
  path = tmp_path / 'other.safetensors'
  tensors = {'weight': np.zeros((2, 2), np.float32)}
  safetensors.numpy.save_file(tensors, path)
  with pytest.raises(UserError, match="no tensor 'net.slice1.0.weight'"):
    image_network(PerceptualConfig(image_weights=str(path)))
  path.write_bytes(b'no tensors at all')
  with pytest.raises(UserError, match='no safetensors file'):
    image_network(PerceptualConfig(image_weights=str(path)))
