"""The T5 encoder, with the parameter names of T5X.

Raffel et al. 2020, with the gated-GELU MLP of version 1.1 or the ReLU MLP of
version 1.0. It differs from most transformers as follows: RMS norms before
each block, no biases, no 1/sqrt(d) in the attention (the query's initialiser
includes it), and one table of relative-position biases for all layers. Names
and shapes are those of T5X, so that its checkpoints load without conversion.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from phenaki_jax.nn.layers import Dense
from phenaki_jax.sharding import constrain, logical, splits_evenly
from phenaki_jax.text.config import TextConfig

WORDS = 'words'
"""The name of the table of words that were added to a trained encoder."""

# T5X adds this number to masked logits. It absorbs the logit, so that a padding
# query attends uniformly to all keys and the softmax does not return NaN.
_MASKED = -1e10


class T5Encoder(nn.Module):
  """Embed token ids as vectors; id 0 is padding.

  `dtype` is that of the products. The softmax, the norms and the sum of the
  layers are always float32. An id of `num_ids` or more is read as that of the
  last row, so check that the vocabulary is not larger than `config.num_ids`.
  """

  config: TextConfig
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, ids: Int[Array, '*B L'], *, deterministic: bool = True
  ) -> Float[Array, '*B L E']:
    """Encode token ids.

    Args:
      ids: token ids, padded with 0.
      deterministic: turn dropout off; otherwise an rng 'dropout' is required.

    Returns:
      One vector per id; the vectors at padding are undefined.
    """
    config = self.config
    ids_BL = ids.reshape((-1, ids.shape[-1]))
    embed = nn.Embed(
      config.vocab_size,
      config.width,
      dtype=self.dtype,
      embedding_init=logical(nn.initializers.normal(1.0), 'vocab', 'embed'),
      name='token_embedder',
    )
    # Embed returns NaN for ids outside the table.
    x_BLE = embed(jnp.clip(ids_BL, 0, config.vocab_size - 1))
    if config.words:
      rows = self.param(
        WORDS,
        logical(nn.initializers.normal(1.0), None, 'embed'),
        (len(config.words), config.width),
        jnp.float32,
      )
      number = ids_BL - config.vocab_size
      added_BLE = rows[jnp.clip(number, 0, len(config.words) - 1)]
      is_added = jnp.broadcast_to(number[..., None] >= 0, x_BLE.shape)
      x_BLE = jnp.where(is_added, added_BLE.astype(x_BLE.dtype), x_BLE)
    x_BLE = x_BLE.astype(jnp.float32)
    # Otherwise the vectors keep the split of the table, and each product of the
    # encoder is a sum over the devices instead of a gather of its kernel.
    names = ('batch', None, None)
    if not self.is_initializing() and splits_evenly(x_BLE.shape, names):
      x_BLE = constrain(x_BLE, *names)
    y_BLE = _Stack(config, self.dtype, name='encoder')(
      x_BLE, ids_BL > 0, deterministic
    )
    return y_BLE.reshape((*ids.shape, config.width))


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
    visible_BLL = mask[:, :, None] & mask[:, None, :]
    bias_BKLL = bias_KLL[None] + jnp.where(visible_BLL, 0.0, _MASKED)[:, None]
    drop = nn.Dropout(config.dropout, deterministic=deterministic)
    x_BLE = drop(x_BLE)
    for i in range(config.num_layers):
      x_BLE = _Layer(config, self.dtype, name=f'layers_{i}')(
        x_BLE, bias_BKLL, deterministic
      )
    return drop(_RMSNorm(self.dtype, name='encoder_norm')(x_BLE))


class _RelativeBias(nn.Module):
  config: TextConfig

  @nn.compact
  def __call__(self, length: int) -> Float[Array, 'K L L']:
    config = self.config
    init = nn.initializers.variance_scaling(1.0, 'fan_avg', 'uniform')
    shape = (config.num_heads, config.relative_buckets)
    table = self.param(
      'rel_embedding', logical(init, 'heads', None), shape, jnp.float32
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

  One half of the buckets is for keys before the query, the other for keys
  after it. The first buckets of each half hold one distance each, the following
  ones grow logarithmically, and the last one holds `max_distance` and more (T5,
  section 2.1).
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
    y_BLE = _MLP(self.config, self.dtype, name='mlp')(y_BLE, deterministic)
    return x_BLE + drop(y_BLE)


class _RMSNorm(nn.Module):
  dtype: Any

  @nn.compact
  def __call__(self, x: Float[Array, 'B L E']) -> Float[Array, 'B L E']:
    init = logical(nn.initializers.ones, 'embed')
    scale = self.param('scale', init, (x.shape[-1],), jnp.float32)
    x = x.astype(jnp.float32)
    square = jnp.mean(jnp.square(x), axis=-1, keepdims=True)
    y = x * jax.lax.rsqrt(square + 1e-6)
    return (y * scale.astype(jnp.float32)[None, None]).astype(self.dtype)


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

    def project(name: str, scale: float = 1.0) -> Float[Array, 'B L K d']:
      # T5X stores the heads and the width of a head as one dimension.
      names = ('embed', 'heads')
      dense = _dense(heads * head_dim, names, self.dtype, name, scale)
      y = dense(x_BLE)
      return y.reshape((*y.shape[:-1], heads, head_dim))

    # The query's initialiser includes the 1/sqrt(d) that the logits lack.
    q_BLKd = project('query', 1.0 / head_dim)
    k_BLKd = project('key')
    v_BLKd = project('value')
    logits_BKLM = jnp.einsum(
      'BLKd,BMKd->BKLM', q_BLKd, k_BLKd, preferred_element_type=jnp.float32
    )
    weights_BKLM = jax.nn.softmax(logits_BKLM + bias, axis=-1)
    weights_BKLM = nn.Dropout(config.dropout, deterministic=deterministic)(
      weights_BKLM.astype(self.dtype)
    )
    y_BLKd = jnp.einsum('BKLM,BMKd->BLKd', weights_BKLM, v_BLKd)
    out = _dense(config.width, ('heads', 'embed'), self.dtype, 'out')
    return out(y_BLKd.reshape((*y_BLKd.shape[:-2], heads * head_dim)))


class _MLP(nn.Module):
  config: TextConfig
  dtype: Any

  @nn.compact
  def __call__(
    self, x_BLE: Float[Array, 'B L E'], deterministic: bool
  ) -> Float[Array, 'B L E']:
    config = self.config

    def hidden(name: str) -> Float[Array, 'B L F']:
      return _dense(config.mlp_dim, ('embed', 'mlp'), self.dtype, name)(x_BLE)

    if config.activation == 'relu':
      y_BLF = jax.nn.relu(hidden('wi'))
    else:
      y_BLF = jax.nn.gelu(hidden('wi_0'), approximate=True) * hidden('wi_1')
    y_BLF = nn.Dropout(config.dropout, deterministic=deterministic)(y_BLF)
    return _dense(config.width, ('mlp', 'embed'), self.dtype, 'wo')(y_BLF)


def _dense(
  features: int,
  names: tuple[str, str],
  dtype: Any,
  name: str,
  scale: float = 1.0,
) -> Dense:
  """Return a layer; `scale` is its kernel's variance times the fan-in."""
  init = nn.initializers.variance_scaling(scale, 'fan_in', 'normal')
  return Dense(features, names, kernel_init=init, dtype=dtype, name=name)
