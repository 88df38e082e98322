"""VGG16 with the linear layers of LPIPS (arXiv 1409.1556, 1801.03924)."""

from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phenaki_jax.perceptual.network import Conv
from phenaki_jax.sharding import logical

# Channels and number of convolutions between two halvings.
_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))

# LPIPS' own normalisation of pixels in [-1, 1].
_SHIFT = np.array([-0.030, -0.088, -0.188], np.float32)
_SCALE = np.array([0.458, 0.448, 0.450], np.float32)


class VGG16(nn.Module):
  """Return the features after the last ReLU of each of five stages.

  The features are weighted so that `distances.image_distance` is LPIPS: the
  linear layer of a stage multiplies squared differences of unit vectors, so
  its root multiplies the unit vectors.
  """

  layers: ClassVar[tuple[str, ...]] = (
    *('relu1_2', 'relu2_2', 'relu3_3', 'relu4_3', 'relu5_3'),
  )
  dims: ClassVar[int] = 2
  least_side: ClassVar[int] = 32

  @nn.compact
  def __call__(self, pixels: Float[Array, 'B H W 3']) -> Mapping[str, Array]:
    """Return the features of frames in [-1, 1], by layer."""
    shift, scale = (
      jnp.broadcast_to(part, pixels.shape) for part in (_SHIFT, _SCALE)
    )
    x = (pixels - shift) / scale
    features = {}
    for stage, (channels, count) in enumerate(_STAGES):
      if stage:
        x = nn.max_pool(x, (2, 2), strides=(2, 2))
      for index in range(count):
        conv = Conv(channels, (3, 3), name=f'conv_{stage}_{index}')
        x = nn.relu(conv(x))
      init = logical(nn.initializers.ones, None)
      linear = self.param(f'linear_{stage}', init, (channels,), jnp.float32)
      # LPIPS' weights are not negative; the root of 0 has no derivative.
      root = jnp.sqrt(jnp.maximum(linear, 1e-12))
      unit = x / (jnp.sqrt((x**2).sum(-1, keepdims=True) + 1e-20) + 1e-10)
      weights = jnp.broadcast_to(root, unit.shape)
      features[self.layers[stage]] = unit * weights
    return features


def vgg_params(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """Turn the state of PyTorch's `lpips.LPIPS(net='vgg')` into parameters.

  Raises:
    KeyError: a tensor is missing.
  """
  params: dict[str, Any] = {}
  number = 0  # of the layer among torchvision's `features`
  for stage, (_, count) in enumerate(_STAGES):
    number += bool(stage)  # the pooling layer
    for index in range(count):
      name = f'net.slice{stage + 1}.{number}'
      params[f'conv_{stage}_{index}'] = {
        'kernel': tensors[f'{name}.weight'].transpose(2, 3, 1, 0),
        'bias': tensors[f'{name}.bias'],
      }
      number += 2  # a convolution and its ReLU
    linear = tensors[f'lin{stage}.model.1.weight']
    params[f'linear_{stage}'] = linear.reshape(-1)
  return params
