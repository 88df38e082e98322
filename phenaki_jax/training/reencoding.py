"""Tokens of a frozen tokenizer, also those that the sampler sees."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from phenaki_jax.pixels import normalise, to_uint8
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.tokenizer.cvivit import CViViT


def encode_pixels(
  config: TokenizerConfig, params: Any, pixels: Float[Array, 'B T H W C']
) -> Int[Array, 'B t h w']:
  """Encode frames, without a gradient.

  Args:
    config: settings of the tokenizer.
    params: its parameters.
    pixels: in [-1, 1].
  """
  ids = CViViT(config).apply({'params': params}, pixels, method='encode')
  return jax.lax.stop_gradient(ids)


def encode_again(
  config: TokenizerConfig,
  params: Any,
  ids: Int[Array, 'B t h w'],
  *,
  context: Int[Array, 'B'],
) -> Int[Array, 'B t h w']:
  """Decode the context and encode it again, as the sampler does.

  The tokenizer is causal, so the number of context latent frames may differ
  between clips: later frames change neither their pixels nor their tokens.

  Args:
    config: settings of the tokenizer.
    params: its parameters.
    ids: tokens of clips.
    context: latent frames of each clip that are context, less than t.
  """
  # At least one latent frame is predicted, so the last is never context.
  pixels = CViViT(config).apply(
    {'params': params}, ids[:, :-1], method='decode'
  )
  again = encode_pixels(config, params, normalise(to_uint8(pixels)))
  again = jnp.concatenate([again, ids[:, -1:]], axis=1)
  replaced = jnp.arange(ids.shape[1])[None, :] < context[:, None]
  return jnp.where(replaced[:, :, None, None], again, ids)
