"""The contract of perceptual networks, and the layer that they share."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phenaki_jax import rng, sharding
from phenaki_jax.sharding import logical


class FeatureModule(Protocol):
  """A Flax module that returns the features of pictures.

  Attributes:
    layers: names of the layers whose features are compared, the first one
      first.
    dims: 2 for frames, 3 for clips.
    least_side: a height and width that it can take.
  """

  layers: ClassVar[tuple[str, ...]]
  dims: ClassVar[int]
  least_side: int

  def __call__(self, pixels: Float[Array, 'B *r']) -> Mapping[str, Array]:
    """Return the features of RGB frames or clips in [-1, 1], by layer."""
    ...


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PerceptualNetwork:
  """A network with its trained weights.

  Attributes:
    name: such as 'vgg16'.
    module: returns its features; a `FeatureModule`.
    checksum: SHA-256 of the file of the weights; '' without weights.
    params: the weights; None describes the network by shapes alone.
  """

  name: str
  module: Any
  checksum: str = ''
  params: Any = None

  @property
  def layers(self) -> tuple[str, ...]:
    """Return the names of the layers whose features are compared."""
    return self.module.layers

  def zeros(self) -> Any:
    """Return weights of zeros, which tell their shapes."""
    shapes = self.shapes()
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

  def features(
    self, params: Any, pixels: Float[Array, 'B *r']
  ) -> Mapping[str, Array]:
    """Return the features of frames or clips in [-1, 1], by layer."""
    return self.module.apply({'params': params}, pixels)

  def shapes(self) -> Any:
    """Return boxed shapes of the weights; nothing is allocated."""
    return jax.eval_shape(self._init)['params']

  def drawn(self) -> 'PerceptualNetwork':
    """Return the network with random weights, the same on every machine."""
    params = sharding.unbox(jax.jit(self._init)()['params'])
    return dataclasses.replace(self, params=params)

  def _init(self) -> Any:
    sides = (self.module.least_side,) * self.module.dims
    return self.module.init(rng.root(0), jnp.zeros((1, *sides, 3)))


class Conv(nn.Module):
  """A convolution whose weights a file holds.

  Attributes:
    features: output channels.
    kernel: size of the kernel along each dimension.
    strides: the same for all dimensions.
    padding: the same before and after each dimension, or 'SAME'.
    bias: whether it has a bias.
  """

  features: int
  kernel: tuple[int, ...]
  strides: int = 1
  padding: int | str = 'SAME'
  bias: bool = True

  @nn.compact
  def __call__(self, x: Float[Array, '... I']) -> Float[Array, '... O']:
    """Return the convolved input."""
    dims = len(self.kernel)
    shape = (*self.kernel, x.shape[-1], self.features)
    init = nn.initializers.lecun_normal()
    weights = self.param(
      'kernel', logical(init, *(None,) * len(shape)), shape, jnp.float32
    )
    middle = 'DHW'[3 - dims :]
    form = f'N{middle}C'
    padding = self.padding
    y = jax.lax.conv_general_dilated(
      x,
      weights,
      (self.strides,) * dims,
      padding if isinstance(padding, str) else [(padding, padding)] * dims,
      dimension_numbers=(form, f'{middle}IO', form),
      # Published weights are compared in full precision on every device.
      precision=jax.lax.Precision.HIGHEST,
    )
    if not self.bias:
      return y
    zeros = logical(nn.initializers.zeros, None)
    bias = self.param('bias', zeros, (self.features,), jnp.float32)
    return y + jnp.broadcast_to(bias, y.shape)


def folded_conv(
  tensors: Mapping[str, np.ndarray], *, norm: str, conv: str, epsilon: float
) -> dict[str, np.ndarray]:
  """Fold a batch norm of PyTorch into the convolution before it.

  Args:
    tensors: the state of the module.
    norm: prefix of the names of the batch norm's tensors.
    conv: that of the convolution, which has no bias.
    epsilon: of the batch norm.

  Returns:
    The kernel, with the dimensions of space first, and the bias of a `Conv`.

  Raises:
    KeyError: a tensor is missing.
  """
  part = {
    name: tensors[f'{norm}.{name}']
    for name in ('weight', 'bias', 'running_mean', 'running_var')
  }
  scale = part['weight'] / np.sqrt(part['running_var'] + epsilon)
  kernel = np.moveaxis(tensors[f'{conv}.weight'], (1, 0), (-2, -1))
  return {
    'kernel': (kernel * scale).astype(np.float32),
    'bias': part['bias'] - part['running_mean'] * scale,
  }
