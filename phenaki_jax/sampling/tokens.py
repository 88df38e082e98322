"""The compiled programs of a tokenizer: frames to token ids, and back."""

import functools
from typing import Any

import jax
from jaxtyping import Array, Int, UInt8

from phenaki_jax.pixels import normalise, to_uint8
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.tokenizer.cvivit import CViViT


@functools.partial(jax.jit, static_argnames='tokenizer')
def encode_pixels(
  tokenizer: TokenizerConfig, params: Any, pixels: UInt8[Array, 'B T H W C']
) -> Int[Array, 'B t h w']:
  """Encode frames as token ids."""
  return CViViT(tokenizer).apply(
    {'params': params}, normalise(pixels), method='encode'
  )


@functools.partial(jax.jit, static_argnames='tokenizer')
def decode_tokens(
  tokenizer: TokenizerConfig, params: Any, ids: Int[Array, 'B t h w']
) -> UInt8[Array, 'B T H W C']:
  """Decode token ids to frames."""
  return to_uint8(
    CViViT(tokenizer).apply({'params': params}, ids, method='decode')
  )
