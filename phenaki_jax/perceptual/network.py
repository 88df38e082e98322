"""The contract of perceptual networks, and the layer that they share."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from phenaki_jax import rng
from phenaki_jax.sharding import logical


class FeatureModule(Protocol):
  """A Flax module that returns the features of pictures.

  Attributes:
    layers: names of the layers that it returns, the first one first.
  """

  layers: ClassVar[tuple[str, ...]]

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

  def features(
    self, params: Any, pixels: Float[Array, 'B *r']
  ) -> Mapping[str, Array]:
    """Return the features of frames or clips in [-1, 1], by layer."""
    return self.module.apply({'params': params}, pixels)

  def shapes(self) -> Any:
    """Return boxed shapes of the weights; nothing is allocated."""
    pixels = jnp.zeros((1, *(32,) * self.module.dims, 3))
    return jax.eval_shape(self.module.init, rng.root(0), pixels)['params']


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
