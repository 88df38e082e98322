"""DPT equals the PyTorch class of `transformers` on drawn weights."""

import pathlib

import drawn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from phenaki_jax.errors import UserError
from phenaki_jax.perceptual.weights import depth_network

# Written by make_dpt_golden.py.
GOLDEN = pathlib.Path(__file__).parents[1] / 'golden' / 'dpt.npz'


def _weights(path, without=()):
  golden = np.load(GOLDEN)
  shapes = {
    str(name): tuple(map(int, shape.split()))
    for name, shape in zip(golden['names'], golden['shapes'], strict=True)
    if name not in without
  }
  safetensors.numpy.save_file(drawn.draw(shapes, 0), path)
  return str(path)


def test_it_equals_pytorch(tmp_path):
  path = _weights(tmp_path / 'dpt.safetensors')
  network = depth_network(path, field='--depth')
  assert len(network.checksum) == 64
  pixels = jnp.asarray(drawn.pixels(2, 64, 64, 3, seed=1))
  found = jax.jit(network.features)(network.params, pixels)['depth']
  expected = np.load(GOLDEN)['depth']
  assert expected.std() > 0.1
  np.testing.assert_allclose(
    found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max()
  )


def test_frames_of_other_sizes_have_depth_of_their_size(tmp_path):
  network = depth_network(_weights(tmp_path / 'w'), field='--depth')
  pixels = jax.ShapeDtypeStruct((3, 24, 40, 3), jnp.float32)
  found = jax.eval_shape(network.features, network.params, pixels)
  assert found['depth'].shape == (3, 24, 40)


def test_without_weights_it_has_the_size_of_dpt_large():
  shapes = depth_network('', field='--depth', read=False).shapes()
  count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
  # The second are those of layers that `transformers` makes and never reads.
  assert count == 343_030_465 - 1_182_208


def test_a_file_of_another_network_is_refused(tmp_path):
  path = _weights(tmp_path / 'w', without=['neck.convs.2.weight'])
  with pytest.raises(UserError, match="no tensor 'neck.convs.2.weight'"):
    depth_network(path, field='--depth')
  path = _weights(tmp_path / 'w', without=['head.head.0.bias'])
  with pytest.raises(UserError, match='other shapes than those of dpt'):
    depth_network(path, field='--depth')
  with pytest.raises(UserError, match='--depth=x does not exist; .*dpt-large'):
    depth_network('x', field='--depth')
