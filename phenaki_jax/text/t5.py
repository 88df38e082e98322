"""The T5 1.1 encoder, under T5X's parameter names.

Raffel et al. 2020, with the changes of version 1.1: a gated-GELU MLP and no
tied output. What differs from most transformers: RMS norms before each
block, no biases, no 1/sqrt(d) in the attention (its initialiser holds it) and
one table of relative-position biases for all layers. The names and shapes are
those of T5X, so that its checkpoints load as they are.
"""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from phenaki_jax.sharding import logical
from phenaki_jax.text.config import TextConfig

_Init = Callable[..., Any]
_NORM_EPSILON = 1e-6
# T5X adds this to a hidden logit. It swallows the logit itself, so that a
# padding query attends evenly to everything instead of giving NaN.
_HIDDEN = -1e10


class T5Encoder(nn.Module):
  """Embed ids [..., L] as vectors [..., L, E]; id 0 is padding.

  Parameters are float32; `dtype` is that of the computation. The softmax and
  the norms' statistics are always float32. Vectors at padding mean nothing.
  An id of `vocab_size` or more has no row and is read as the last one, so
  check a vocabulary's size against the config beforehand.
  """

  config: TextConfig
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, ids: Int[Array, '*B L'], *, deterministic: bool = True
  ) -> Float[Array, '*B L E']:
    """Return the embeddings; dropout needs `deterministic=False` and rng."""
    length = ids.shape[-1]
    ids_BL = ids.reshape((-1, length))
    x_BLE = _Embed(self.config, self.dtype, name='token_embedder')(ids_BL)
    y_BLE = _Stack(self.config, self.dtype, name='encoder')(
      x_BLE, ids_BL > 0, deterministic
    )
    return y_BLE.reshape((*ids.shape, self.config.width))


class _Embed(nn.Module):
  config: TextConfig
  dtype: Any

  @nn.compact
  def __call__(self, ids: Int[Array, 'B L']) -> Float[Array, 'B L E']:
    embedding = _param(
      self,
      'embedding',
      nn.initializers.normal(1.0),
      ('vocab', 'embed'),
      (self.config.vocab_size, self.config.width),
    )
    # The mode is written out because the default gives NaN.
    rows = jnp.take(embedding, ids, axis=0, mode='clip')
    return rows.astype(self.dtype)


class _Stack(nn.Module):
  config: TextConfig
  dtype: Any

  @nn.compact
  def __call__(
    self,
    x_BLE: Float[Array, 'B L E'],
    mask: Bool[Array, 'B L'],
    deterministic: bool,
  ) -> Float[Array, 'B L E']:
    config = self.config
    bias_KLL = _RelativeBias(config, name='relpos_bias')(x_BLE.shape[1])
    shown_BLL = mask[:, :, None] & mask[:, None, :]
    bias_BKLL = bias_KLL[None] + jnp.where(shown_BLL, 0.0, _HIDDEN)[:, None]
    drop = nn.Dropout(config.dropout, deterministic=deterministic)
    x_BLE = drop(x_BLE)
    for i in range(config.num_layers):
      x_BLE = _Layer(config, self.dtype, name=f'layers_{i}')(
        x_BLE, bias_BKLL, deterministic
      )
    x_BLE = _RMSNorm(self.dtype, name='encoder_norm')(x_BLE)
    return drop(x_BLE)


class _Layer(nn.Module):
  config: TextConfig
  dtype: Any

  @nn.compact
  def __call__(
    self,
    x_BLE: Float[Array, 'B L E'],
    bias: Float[Array, 'B K L L'],
    deterministic: bool,
  ) -> Float[Array, 'B L E']:
    drop = nn.Dropout(self.config.dropout, deterministic=deterministic)
    y_BLE = _RMSNorm(self.dtype, name='pre_attention_layer_norm')(x_BLE)
    y_BLE = _Attention(self.config, self.dtype, name='attention')(
      y_BLE, bias, deterministic
    )
    x_BLE = x_BLE + drop(y_BLE)
    y_BLE = _RMSNorm(self.dtype, name='pre_mlp_layer_norm')(x_BLE)
    y_BLE = _GatedMLP(self.config, self.dtype, name='mlp')(y_BLE, deterministic)
    return x_BLE + drop(y_BLE)


class _Attention(nn.Module):
  config: TextConfig
  dtype: Any

  @nn.compact
  def __call__(
    self,
    x_BLE: Float[Array, 'B L E'],
    bias: Float[Array, 'B K L L'],
    deterministic: bool,
  ) -> Float[Array, 'B L E']:
    config = self.config
    heads, head_dim = config.num_heads, config.head_dim

    def project(name: str, init: _Init) -> Float[Array, 'B L K d']:
      # T5X stores heads and head width as one axis.
      y = _Dense(
        heads * head_dim, ('embed', 'heads'), self.dtype, init, name=name
      )(x_BLE)
      return y.reshape((*y.shape[:-1], heads, head_dim))

    # The query's initialiser carries the 1/sqrt(d) that the logits lack.
    q_BLKd = project('query', _fan_in(1.0 / head_dim))
    k_BLKd = project('key', _fan_in(1.0))
    v_BLKd = project('value', _fan_in(1.0))
    logits_BKLM = jnp.einsum(
      'BLKd,BMKd->BKLM', q_BLKd, k_BLKd, preferred_element_type=jnp.float32
    )
    weights_BKLM = jax.nn.softmax(logits_BKLM + bias, axis=-1)
    weights_BKLM = nn.Dropout(config.dropout, deterministic=deterministic)(
      weights_BKLM.astype(self.dtype)
    )
    y_BLKd = jnp.einsum('BKLM,BMKd->BLKd', weights_BKLM, v_BLKd)
    return _Dense(
      config.width, ('heads', 'embed'), self.dtype, _fan_in(1.0), name='out'
    )(y_BLKd.reshape((*y_BLKd.shape[:-2], heads * head_dim)))


class _GatedMLP(nn.Module):
  config: TextConfig
  dtype: Any

  @nn.compact
  def __call__(
    self, x_BLE: Float[Array, 'B L E'], deterministic: bool
  ) -> Float[Array, 'B L E']:
    hidden, axes = self.config.mlp_dim, ('embed', 'mlp')
    gate_BLF = _Dense(hidden, axes, self.dtype, _fan_in(1.0), name='wi_0')(
      x_BLE
    )
    value_BLF = _Dense(hidden, axes, self.dtype, _fan_in(1.0), name='wi_1')(
      x_BLE
    )
    y_BLF = jax.nn.gelu(gate_BLF, approximate=True) * value_BLF
    y_BLF = nn.Dropout(self.config.dropout, deterministic=deterministic)(y_BLF)
    return _Dense(
      self.config.width, ('mlp', 'embed'), self.dtype, _fan_in(1.0), name='wo'
    )(y_BLF)


class _Dense(nn.Module):
  features: int
  axes: tuple[str | None, ...]
  dtype: Any
  init: _Init

  @nn.compact
  def __call__(self, x: Float[Array, 'B L I']) -> Float[Array, 'B L O']:
    shape = (x.shape[-1], self.features)
    kernel = _param(
      self, 'kernel', self.init, self.axes, shape, inputs=1, decay=True
    )
    return jnp.einsum('BLI,IO->BLO', x, kernel.astype(self.dtype))


class _RMSNorm(nn.Module):
  dtype: Any

  @nn.compact
  def __call__(self, x: Float[Array, 'B L E']) -> Float[Array, 'B L E']:
    scale = _param(
      self, 'scale', nn.initializers.ones, ('embed',), (x.shape[-1],)
    )
    x = x.astype(jnp.float32)
    square = jnp.mean(jnp.square(x), axis=-1, keepdims=True)
    y = x * jax.lax.rsqrt(square + _NORM_EPSILON)
    return y.astype(self.dtype) * scale.astype(self.dtype)[None, None]


class _RelativeBias(nn.Module):
  config: TextConfig

  @nn.compact
  def __call__(self, length: int) -> Float[Array, 'K L L']:
    config = self.config
    table = _param(
      self,
      'rel_embedding',
      nn.initializers.variance_scaling(1.0, 'fan_avg', 'uniform'),
      ('heads', None),
      (config.num_heads, config.relative_buckets),
    )
    position = np.arange(length)
    buckets = relative_buckets(
      position[None, :] - position[:, None],
      num_buckets=config.relative_buckets,
      max_distance=config.relative_max_distance,
    )
    return jnp.asarray(table)[:, buckets]


def relative_buckets(
  distance: Int[np.ndarray, '*shape'], *, num_buckets: int, max_distance: int
) -> Int[np.ndarray, '*shape']:
  """Return the bucket of each signed distance (key minus query).

  Half of the buckets are for keys behind the query, half for keys ahead. In
  each half the first buckets hold one distance each, the others grow with its
  logarithm, and the last takes `max_distance` and all beyond (T5, 2.1).
  """
  half = num_buckets // 2
  exact = half // 2
  size = np.abs(distance)
  epsilon = np.finfo(np.float32).eps
  log_ratio = np.log(size.astype(np.float32) / exact + epsilon) / math.log(
    max_distance / exact
  )
  grown = np.minimum(
    exact + (log_ratio * (half - exact)).astype(np.int32), half - 1
  )
  return (distance > 0) * half + np.where(size < exact, size, grown)


def _fan_in(scale: float) -> _Init:
  return nn.initializers.variance_scaling(scale, 'fan_in', 'normal')


def _param(
  module: nn.Module,
  name: str,
  init: _Init,
  axes: tuple[str | None, ...],
  shape: tuple[int, ...],
  **rules: Any,
) -> Any:
  return module.param(name, logical(init, *axes, **rules), shape, jnp.float32)
