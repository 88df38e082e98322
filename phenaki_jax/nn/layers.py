"""Dense, norm and MLP layers with logical axis names.

Every parameter is declared at its true shape, with one logical name per
dimension and with its optimizer rules (see `phenaki_jax.sharding`). Flax's
`DenseGeneral` initialises a flattened kernel, which under `jax.set_mesh` does
not fit the names of a rank-three kernel. `Kernel` and `multiply` avoid that.
"""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from phenaki_jax.sharding import logical

Initializer = Callable[..., Array]


def fan_in_normal(num_input_dims: int) -> Initializer:
  """Return a truncated normal of variance 1 / (product of the input dims)."""

  def init(
    key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32
  ) -> Array:
    fan_in = math.prod(shape[:num_input_dims])
    noise = jax.random.truncated_normal(key, -2.0, 2.0, shape, dtype)
    # 0.8796 is the standard deviation of a unit normal truncated at 2.
    return noise / (0.8796 * fan_in**0.5)

  return init


def multiply(
  x: Float[Array, '...'], kernel: Float[Array, '...'], *, dims: int = 1
) -> Float[Array, '...']:
  """Contract the last dims of the input with the first dims of a kernel.

  Both are reshaped to matrices. The gradient of a product with more dims makes
  XLA transpose whole activations, which on a CPU costs more than the product;
  between matrices it transposes nothing.

  Args:
    x: [*b, *inputs], cast to the kernel's dtype.
    kernel: [*inputs, *outputs].
    dims: number of input dims.

  Returns:
    [*b, *outputs].
  """
  inputs, outputs = kernel.shape[:dims], kernel.shape[dims:]
  size = math.prod(inputs)
  rows = x.astype(kernel.dtype).reshape(-1, size)
  product = rows @ kernel.reshape(size, -1)
  return product.reshape(*x.shape[: x.ndim - dims], *outputs)


class Kernel(nn.Module):
  """Weights of a linear map inside the model, of any number of dims.

  Attributes:
    shape: shape of the kernel, input dims first.
    names: logical axis name of each dim.
    inputs: number of input dims.
    kernel_init: initialiser of the kernel.
    dtype: dtype of the computation; the parameter stays float32.
  """

  shape: tuple[int, ...]
  names: tuple[str | None, ...]
  inputs: int = 1
  kernel_init: Initializer = fan_in_normal(1)
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self) -> Float[Array, '...']:
    """Return the kernel in the compute dtype."""
    kernel = self.param(
      'kernel',
      logical(self.kernel_init, *self.names, inputs=self.inputs, decay=True),
      self.shape,
      jnp.float32,
    )
    return kernel.astype(self.dtype)


class Dense(nn.Module):
  """Map the last dimension linearly, with an optional bias.

  Attributes:
    features: width of the output.
    names: logical names of the kernel's two dimensions.
    use_bias: add a learned vector.
    kernel_init: initialiser of the kernel.
    hidden: a matrix inside the model, which Muon orthogonalises; False for
      layers that read positions or output pixels.
    dtype: dtype of the computation.
  """

  features: int
  names: tuple[str | None, str | None]
  use_bias: bool = False
  kernel_init: Initializer = fan_in_normal(1)
  hidden: bool = True
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, '*b I']) -> Float[Array, '*b O']:
    """Return `x @ kernel (+ bias)`."""
    inputs = 1 if self.hidden else None
    kernel = self.param(
      'kernel',
      logical(self.kernel_init, *self.names, inputs=inputs, decay=True),
      (x.shape[-1], self.features),
      jnp.float32,
    )
    y = multiply(x, kernel.astype(self.dtype))
    if self.use_bias:
      bias = self.param(
        'bias',
        logical(nn.initializers.zeros, self.names[1]),
        (self.features,),
        jnp.float32,
      )
      y = y + jnp.broadcast_to(bias.astype(self.dtype), y.shape)
    return y


class RMSNorm(nn.Module):
  """Scale the last dimension to unit root mean square, in float32."""

  @nn.compact
  def __call__(self, x: Float[Array, '*b D']) -> Float[Array, '*b D']:
    """Return the normalised input, in the input's dtype."""
    init = logical(nn.initializers.ones, None)
    scale = self.param('scale', init, (x.shape[-1],), jnp.float32)
    x32 = x.astype(jnp.float32)
    mean_square = jnp.mean(x32 * x32, axis=-1, keepdims=True)
    y = x32 * jax.lax.rsqrt(mean_square + 1e-6)
    return (y * jnp.broadcast_to(scale, y.shape)).astype(x.dtype)


def dropout(module: nn.Module, rate: float) -> nn.Dropout:
  """Return dropout that acts where the module is given an rng 'dropout'."""
  return nn.Dropout(rate, deterministic=not module.has_rng('dropout'))


class MLP(nn.Module):
  """Two dense layers with a GELU between them; the second starts at zero."""

  hidden: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, '*b D']) -> Float[Array, '*b D']:
    """Return an output of the input's width."""
    h = Dense(self.hidden, ('embed', 'mlp'), dtype=self.dtype, name='wi')(x)
    return Dense(
      x.shape[-1],
      ('mlp', 'embed'),
      # A residual branch starts at zero.
      kernel_init=nn.initializers.zeros,
      dtype=self.dtype,
      name='wo',
    )(nn.gelu(h))
