"""I3D, the inflated Inception network for video (arXiv 1705.07750)."""

from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phenaki_jax.perceptual.network import Conv, folded_conv

# Layers in order: channels and kernel of a convolution, window and stride of a
# pooling layer, or the channels of the branches of an Inception block.
_LAYERS: tuple[tuple[str, tuple[Any, ...]], ...] = (
  ('Conv3d_1a_7x7', (64, 7, 2)),
  ('MaxPool3d_2a_3x3', ((1, 3, 3), (1, 2, 2))),
  ('Conv3d_2b_1x1', (64, 1, 1)),
  ('Conv3d_2c_3x3', (192, 3, 1)),
  ('MaxPool3d_3a_3x3', ((1, 3, 3), (1, 2, 2))),
  ('Mixed_3b', (64, 96, 128, 16, 32, 32)),
  ('Mixed_3c', (128, 128, 192, 32, 96, 64)),
  ('MaxPool3d_4a_3x3', ((3, 3, 3), (2, 2, 2))),
  ('Mixed_4b', (192, 96, 208, 16, 48, 64)),
  ('Mixed_4c', (160, 112, 224, 24, 64, 64)),
  ('Mixed_4d', (128, 128, 256, 24, 64, 64)),
  ('Mixed_4e', (112, 144, 288, 32, 64, 64)),
  ('Mixed_4f', (256, 160, 320, 32, 128, 128)),
  ('MaxPool3d_5a_2x2', ((2, 2, 2), (2, 2, 2))),
  ('Mixed_5b', (256, 160, 320, 32, 128, 128)),
  ('Mixed_5c', (384, 192, 384, 48, 128, 128)),
)
_BN_EPSILON = 1e-3


class I3D(nn.Module):
  """Return the last features of clips, averaged over time and space.

  Batch norms are folded into the convolutions when the weights are read.
  """

  layers: ClassVar[tuple[str, ...]] = ('Mixed_5c',)
  dims: ClassVar[int] = 3
  least_side: ClassVar[int] = 32

  @nn.compact
  def __call__(self, pixels: Float[Array, 'B T H W 3']) -> Mapping[str, Array]:
    """Return [B, 1024] features of clips in [-1, 1]."""
    x = pixels
    for name, sizes in _LAYERS:
      if name.startswith('Conv'):
        features, kernel, strides = sizes
        x = nn.relu(Conv(features, (kernel,) * 3, strides, name=name)(x))
      elif name.startswith('MaxPool'):
        x = nn.max_pool(x, *sizes, padding='SAME')
      else:
        x = _Inception(sizes, name=name)(x)
    return {'Mixed_5c': x.mean((1, 2, 3))}


class _Inception(nn.Module):
  """Four branches, side by side: 1x1, 3x3, 3x3 and pooling."""

  sizes: tuple[int, ...]

  @nn.compact
  def __call__(self, x: Float[Array, 'B T H W I']) -> Float[Array, 'B T H W O']:
    def conv(x: Array, name: str, features: int, kernel: int) -> Array:
      return nn.relu(Conv(features, (kernel,) * 3, name=name)(x))

    b0, b1a, b1b, b2a, b2b, b3b = self.sizes
    pooled = nn.max_pool(x, (3, 3, 3), padding='SAME')
    branches = [
      conv(x, 'b0', b0, 1),
      conv(conv(x, 'b1a', b1a, 1), 'b1b', b1b, 3),
      conv(conv(x, 'b2a', b2a, 1), 'b2b', b2b, 3),
      conv(pooled, 'b3b', b3b, 1),
    ]
    return jnp.concatenate(branches, -1)


def i3d_params(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """Turn the state of PyTorch's `InceptionI3d` into parameters.

  Raises:
    KeyError: a tensor is missing.
  """

  def folded(name: str) -> dict[str, np.ndarray]:
    return folded_conv(
      tensors,
      norm=f'{name}.bn',
      conv=f'{name}.conv3d',
      epsilon=_BN_EPSILON,
    )

  params: dict[str, Any] = {}
  for name, _ in _LAYERS:
    if name.startswith('Conv'):
      params[name] = folded(name)
    elif name.startswith('Mixed'):
      branches = ('b0', 'b1a', 'b1b', 'b2a', 'b2b', 'b3b')
      params[name] = {part: folded(f'{name}.{part}') for part in branches}
  return params
