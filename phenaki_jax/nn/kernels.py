"""Fused attention: splash attention on TPUs, cuDNN on NVIDIA GPUs.

They keep no scores in memory. Splash attention reads segments; cuDNN gets a
boolean mask of token pairs made of them, or the number of keys that a query
reads, which costs less. Each equals `attention.dot_product_attention` up to
rounding, and has neither dropout nor another mask.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu import splash_attention
from jaxtyping import Array, Bool, Float, Int

from phenaki_jax import sharding
from phenaki_jax.errors import UserError
from phenaki_jax.nn.config import AttentionKernel

# Shorter sequences have so few scores that XLA's own products are as fast.
_MIN_LENGTH = 1024
# A splash kernel works on square blocks of scores, at most of this side.
_SIDES = (512, 256, 128)
# The dimensions of queries, keys and values, heads first.
_NAMES = ('batch', 'heads', None, None)


def choose(
  kernel: AttentionKernel,
  query: Float[Array, '*b N K d'],
  *,
  is_plain: bool,
  is_cross: bool = False,
) -> AttentionKernel:
  """Return the kernel that computes an attention layer.

  Args:
    kernel: the configured one; 'auto' is splash attention on a TPU and cuDNN on
      a GPU for long sequences that they support, and otherwise XLA.
    query: the queries.
    is_plain: whether there is no dropout and no mask but that of segments.
    is_cross: whether the keys are of other tokens, as many as a text has;
      splash attention does not take them.

  Raises:
    UserError: the layer cannot be computed by the configured kernel.
  """
  length, dim = query.shape[-3], query.shape[-1]
  fits = {
    'splash': is_plain and not is_cross and length % _SIDES[-1] == 0,
    'cudnn': is_plain and query.dtype == jnp.bfloat16 and dim <= 128,
  }
  if kernel == 'auto':
    by_platform: dict[str, AttentionKernel] = {'tpu': 'splash', 'gpu': 'cudnn'}
    best = by_platform.get(sharding.platform(), 'xla')
    shape = query.shape[0], query.shape[2]
    if (
      length >= _MIN_LENGTH
      and fits.get(best)
      and sharding.splits_evenly(shape, _NAMES[:2])
    ):
      return best
    return 'xla'
  if kernel == 'splash' and is_cross:
    return 'xla'
  if not fits.get(kernel, True):
    raise UserError(
      f'attention_kernel is {kernel!r}, but a layer has {length} tokens, heads '
      f'of {dim} in {query.dtype}'
      f'{"" if is_plain else ", and dropout or a mask"}; splash takes '
      'multiples of 128 tokens, cudnn bfloat16 and heads of at most 128, and '
      "neither takes dropout or a mask; use 'auto'"
    )
  return kernel


def splash(
  query: Float[Array, 'B N K d'],
  key: Float[Array, 'B N K d'],
  value: Float[Array, 'B N K value'],
  segments: Int[Array, 'B N'] | None,
  *,
  scale: float,
) -> Float[Array, 'B N K value']:
  """Attend within segments by the splash kernel of JAX.

  On other platforms than TPUs the kernel is interpreted, which is slow.

  Args:
    query: queries.
    key: keys.
    value: values.
    segments: segment of each token; None: one segment.
    scale: scale of the scores.
  """
  length = query.shape[1]
  side = next(side for side in _SIDES if length % side == 0)
  blocks = splash_attention.BlockSizes(
    block_q=side,
    block_kv=side,
    block_q_dkv=side,
    block_kv_dkv=side,
    block_q_dq=side,
    block_kv_dq=side,
  )
  if segments is None:
    segments = jnp.zeros(query.shape[:2], jnp.int32)
  heads_first = (jnp.swapaxes(x, 1, 2) for x in (scale * query, key, value))

  def attend(query: Any, key: Any, value: Any, segments: Any) -> Any:
    whole = splash_attention.FullMask((length, length))
    kernel = splash_attention.make_splash_mha(
      splash_attention.MultiHeadMask([whole] * query.shape[1]),
      block_sizes=blocks,
      head_shards=1,
      q_seq_shards=1,
      interpret=sharding.platform() != 'tpu',
    )
    ids = splash_attention.SegmentIds(segments, segments)
    return jax.vmap(kernel)(query, key, value, ids)

  # The compiler cannot split a kernel over devices by itself.
  out = sharding.on_each_device(
    attend, (_NAMES,) * 3 + (('batch', None),), _NAMES
  )(*heads_first, segments)
  return jnp.swapaxes(out, 1, 2).astype(value.dtype)


def cudnn(
  query: Float[Array, 'B N K d'],
  key: Float[Array, 'B M K d'],
  value: Float[Array, 'B M K value'],
  segments: Int[Array, 'B N'] | None = None,
  *,
  scale: float,
  lengths: Int[Array, 'B'] | None = None,
  implementation: Any = 'cudnn',
) -> Float[Array, 'B N K value']:
  """Attend within segments, or to the first keys, by cuDNN.

  cuDNN wants heads of one width, a multiple of 8, so that all are padded with
  zeros.

  Args:
    query: queries.
    key: keys.
    value: values.
    segments: segment of each token, if keys and queries are of the same tokens.
    scale: scale of the scores.
    lengths: number of leading keys that all queries attend to, at least 1;
      None: all. Not with segments.
    implementation: of `jax.nn.dot_product_attention`.
  """
  width = -(-query.shape[-1] // 8) * 8
  query, key, values = (_widen(x, width) for x in (query, key, value))
  mask: Bool[Array, 'B 1 N N'] | None = None
  if segments is not None:
    mask = (segments[:, :, None] == segments[:, None, :])[:, None]
  out = jax.nn.dot_product_attention(
    query,
    key,
    values,
    mask=mask,
    scale=scale,
    key_value_seq_lengths=lengths,
    implementation=implementation,
  )
  return out[..., : value.shape[-1]]


def _widen(x: Array, width: int) -> Array:
  missing = width - x.shape[-1]
  return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, missing)])
