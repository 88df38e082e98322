"""Encode and decode clips of any length in chunks.

No layer of a C-ViViT looks ahead, and only its temporal layers look back. A
chunk therefore needs the keys and values of earlier latent frames, which a
cache keeps for each temporal layer, and nothing else. Tokens and frames are
those of the whole clip at once.

With `temporal_window` the cache holds window - 1 latent frames, so that memory
does not grow with the clip. Without a window a latent frame attends to all
earlier ones; the cache then has room for as many latent frames as the caller
allows.
"""

import dataclasses
import functools
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from phenaki_jax.errors import UserError
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.tokenizer.cvivit import CViViT
from phenaki_jax.tokenizer.space_time import Span, make_span
from phenaki_jax.types import Params


def encode_chunks(
  config: TokenizerConfig,
  params: Params,
  chunks: Iterable[Float[Array, 'B _ H W C']],
  *,
  longest: int | None = None,
) -> Iterator[Int[Array, 'B _ h w']]:
  """Yield the token ids of each chunk of a clip.

  Args:
    config: the tokenizer's shape.
    params: its parameters.
    chunks: consecutive frames with values in [-1, 1]. The first chunk holds the
      first frame and any number of tubelets, every other whole tubelets; chunks
      of equal length share one compiled function.
    longest: latent frames of the longest clip, without `temporal_window`.

  Raises:
    UserError: a chunk is not a whole number of tubelets or patches, or the
      clip is longer than `longest`.
  """
  stream = _Stream(config, params, longest)
  for pixels in chunks:
    extra = 0 if stream.done else 1
    whole, rest = divmod(pixels.shape[1] - extra, config.tubelet)
    if rest or not pixels.shape[1]:
      raise UserError(
        f'a chunk has {pixels.shape[1]} frames; give the first chunk 1 + k * '
        f'{config.tubelet} frames and every other k * {config.tubelet}'
      )
    _, h, w = config.grid(1, (pixels.shape[2], pixels.shape[3]))
    yield stream.run('encode_span', pixels, (whole + extra, h, w))


def decode_chunks(
  config: TokenizerConfig,
  params: Params,
  chunks: Iterable[Int[Array, 'B _ h w']],
  *,
  longest: int | None = None,
) -> Iterator[Float[Array, 'B _ H W C']]:
  """Yield the frames of each chunk of a clip, approximately in [-1, 1].

  Args:
    config: the tokenizer's shape.
    params: its parameters.
    chunks: token ids of consecutive latent frames, any number in each.
    longest: latent frames of the longest clip, without `temporal_window`.

  Raises:
    UserError: the clip is longer than `longest`.
  """
  stream = _Stream(config, params, longest)
  for ids in chunks:
    yield stream.run('decode_span', ids, ids.shape[1:])


class _Stream:
  """A clip that is read from its start; `done` counts its latent frames."""

  def __init__(
    self, config: TokenizerConfig, params: Params, longest: int | None
  ) -> None:
    window = config.temporal_window
    if window is None and longest is None and config.temporal_layers:
      raise UserError(
        'a tokenizer without tokenizer.temporal_window attends to all earlier '
        'latent frames; give the number of latent frames of the longest clip'
      )
    self.longest = longest if window is None else None
    # The cache never recomputes, so rematerialisation would save nothing.
    self.config = dataclasses.replace(config, remat='none')
    self.params, self.cache, self.done = params, None, 0
    self.remembered = (window or longest or 1) - 1

  def run(self, method: str, x: Array, grid: tuple[int, ...]) -> Array:
    """Apply a method to the next chunk."""
    t, h, w = grid
    if self.longest is not None and self.done + t > self.longest:
      raise UserError(
        f'the clip has more than {self.longest} latent frames, for which the '
        'cache has room; allow more'
      )
    span = make_span(
      self.config, (t, h, w), start=self.done, remembered=self.remembered
    )
    output, self.cache = _apply(
      self.config, method, self.done == 0, self.params, self.cache, x, span
    )
    self.done += t
    return output


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _apply(
  config: TokenizerConfig,
  method: str,
  is_first: bool,
  params: Params,
  cache: Any,
  x: Array,
  span: Span,
) -> tuple[Array, Any]:
  variables = {'params': params} | ({} if cache is None else {'cache': cache})
  output, changed = CViViT(config).apply(
    variables, x, span, is_first=is_first, method=method, mutable=['cache']
  )
  return jnp.asarray(output), changed.get('cache', {})
