"""Distances between pictures by the features of a trained network."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from phenaki_jax.perceptual.network import PerceptualNetwork


def image_distance(
  network: PerceptualNetwork,
  params: Any,
  target: Float[Array, 'B H W 3'],
  output: Float[Array, 'B H W 3'],
) -> Float[Array, 'B']:
  """Return the distance of each pair of frames (arXiv 1801.03924, equation 1).

  For the features y of layer l, scaled to unit length over channels, it is

    sum over l of mean over positions of |w_l (y_l(target) - y_l(output))|^2.

  VGG16 returns unit vectors, multiplied by the weights w of LPIPS. For other
  networks w is 1, and the sum over layers is a mean.

  Args:
    network: of frames.
    params: its weights.
    target: frames in [-1, 1].
    output: frames in [-1, 1].
  """
  both = network.features(params, jnp.concatenate([target, output]))
  total = jnp.zeros(target.shape[0])
  for layer in network.layers:
    features = both[layer]
    if network.name != 'vgg16':
      squares = (features**2).sum(-1, keepdims=True)
      features = features * jax.lax.rsqrt(squares + 1e-8)
    one, other = jnp.split(features, 2)
    total = total + ((one - other) ** 2).sum(-1).mean((1, 2))
  return total if network.name == 'vgg16' else total / len(network.layers)


def video_distance(
  network: PerceptualNetwork,
  params: Any,
  target: Float[Array, 'B T H W 3'],
  output: Float[Array, 'B T H W 3'],
  *,
  size: int,
) -> Float[Array, 'B']:
  """Return the mean squared difference of the features of each pair of clips.

  Args:
    network: of clips.
    params: its weights.
    target: clips in [-1, 1].
    output: clips in [-1, 1].
    size: height and width to which the frames are resized.
  """
  both = jnp.concatenate([target, output])
  if both.shape[2:4] != (size, size):
    shape = (*both.shape[:2], size, size, 3)
    both = jax.image.resize(both, shape, 'bilinear')
  layer = network.layers[-1]
  one, other = jnp.split(network.features(params, both)[layer], 2)
  return ((one - other) ** 2).mean(-1)
