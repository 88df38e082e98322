"""I3D equals PyTorch's class on drawn weights."""

import functools
import pathlib

import drawn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from phenaki_jax.errors import UserError
from phenaki_jax.perceptual.config import PerceptualConfig
from phenaki_jax.perceptual.distances import video_distance
from phenaki_jax.perceptual.weights import video_network

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden' / 'perceptual.npz'


@pytest.mark.slow
def test_it_equals_pytorch(tmp_path):
  golden = np.load(GOLDEN)
  shapes = {
    str(name): tuple(map(int, shape.split()))
    for name, shape in zip(
      golden['i3d_names'], golden['i3d_shapes'], strict=True
    )
  }
  path = tmp_path / 'i3d.safetensors'
  safetensors.numpy.save_file(drawn.draw(shapes, 3), path)
  network = video_network(PerceptualConfig(video_weights=str(path)))
  clip = jnp.asarray(drawn.pixels(1, 9, 32, 32, 3, seed=4))
  features = jax.jit(network.features)(network.params, clip)['Mixed_5c']
  scale = np.abs(golden['i3d']).max()
  np.testing.assert_allclose(
    features, golden['i3d'], rtol=1e-4, atol=1e-4 * scale
  )
  # A clip of another size is resized to the given one.
  small = clip[:, :, ::2, ::2]
  distance = jax.jit(functools.partial(video_distance, network, size=32))
  same, other = (distance(network.params, small, x) for x in (small, -small))
  assert float(same[0]) < 1e-9 < float(other[0])


def test_every_tensor_of_the_class_is_read():
  golden = np.load(GOLDEN)
  shapes = {
    str(name): tuple(map(int, shape.split()))
    for name, shape in zip(
      golden['i3d_names'], golden['i3d_shapes'], strict=True
    )
  }
  network = video_network(PerceptualConfig(), read=False)
  ours = sum(leaf.size for leaf in jax.tree.leaves(network.shapes()))
  # Batch norms have 4 tensors, of which a bias is left; the classifier none.
  kernels = [s for n, s in shapes.items() if n.endswith('conv3d.weight')]
  kernels = [s for s in kernels if s != (400, 1024, 1, 1, 1)]
  assert ours == sum(np.prod(s) + s[0] for s in kernels)


def test_a_missing_file_is_refused_with_its_source():
  with pytest.raises(UserError, match='video_weights, which is empty.*I3D|i3d'):
    video_network(PerceptualConfig())
