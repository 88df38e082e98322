"""Inception-v3 equals pytorch-fid's class on drawn weights."""

import pathlib

import drawn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from phenaki_jax.errors import UserError
from phenaki_jax.perceptual.weights import inception_network

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden' / 'inception.npz'


def test_it_equals_pytorch(tmp_path):
  golden = np.load(GOLDEN)
  shapes = drawn.shapes(golden)
  path = tmp_path / 'inception.safetensors'
  safetensors.numpy.save_file(drawn.draw(shapes, 8), path)
  network = inception_network(str(path))
  pixels = jnp.asarray(drawn.pixels(2, 75, 91, 3, seed=9))
  # Compiling takes most of the time of this test.
  features = (
    jax.jit(network.features)
    .lower(network.params, pixels)
    .compile({'xla_backend_optimization_level': 0})
  )
  found = features(network.params, pixels)
  for name, value in found.items():
    scale = np.abs(golden[name]).max()
    np.testing.assert_allclose(
      value, golden[name], rtol=1e-4, atol=1e-4 * scale, err_msg=name
    )
  assert len(network.checksum) == 64
  # Every tensor of the class is read. Batch norms have 4, of which a bias is
  # left.
  kernels = [s for n, s in shapes.items() if n.endswith('conv.weight')]
  ours = sum(leaf.size for leaf in jax.tree.leaves(network.params))
  classes = np.prod(shapes['fc.weight'])
  assert ours == classes + sum(np.prod(s) + s[0] for s in kernels)


def test_a_file_of_another_network_is_refused_with_the_source(tmp_path):
  path = tmp_path / 'other.safetensors'
  safetensors.numpy.save_file({'x': np.zeros(2, np.float32)}, path)
  with pytest.raises(UserError, match="no tensor 'Conv2d_1a.*pytorch-fid"):
    inception_network(str(path))
