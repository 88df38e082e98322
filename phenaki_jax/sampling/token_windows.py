"""Windows of one long sequence of tokens: sampled, and decoded as they come.

In the paper's way a window sees the last frames of the one before, encoded
again. Here it sees their tokens. The windows are then parts of one sequence,
which a streaming decoder turns into frames with what it remembers of earlier
ones, as if it decoded the whole sequence at once.
"""

from collections.abc import Iterable, Iterator, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, UInt8

from phenaki_jax.pixels import to_uint8
from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.sampling.sampler import Sampler
from phenaki_jax.tokenizer.streaming import decode_chunks


def sample_window(
  sampler: Sampler,
  prompts: Sequence[str],
  *,
  size: tuple[int, int],
  seeds: Sequence[int],
  settings: SamplingSettings,
  context: Int[np.ndarray, 'B _ h w'] | None = None,
  fps: float | int | None = None,
) -> Int[np.ndarray, 'B t h w']:
  """Sample the tokens of one window for each prompt.

  Args:
    sampler: the model.
    prompts: one per window.
    size: height and width in pixels.
    seeds: one per window, 0 to 2**32 - 1.
    settings: how to sample.
    context: tokens of the last latent frames before the windows, fewer than a
      window has; None starts a sequence.
    fps: see `Sampler.uncover`.

  Returns:
    The windows, which start with the context.
  """
  grid = sampler.models.tokenizer.grid(sampler.clip_frames, size)
  ids = np.zeros((len(prompts), *grid), np.int32)
  known = np.zeros(ids.shape, bool)
  if context is not None:
    ids[:, : context.shape[1]] = context
    known[:, : context.shape[1]] = True
  state = sampler.uncover(
    prompts, ids=ids, known=known, seeds=seeds, settings=settings, fps=fps
  )
  return np.asarray(state.ids).reshape(ids.shape)


def decode_stream(
  sampler: Sampler,
  tokens: Iterable[Int[np.ndarray, 'B _ h w']],
  *,
  longest: int,
) -> Iterator[UInt8[np.ndarray, 'B _ H W 3']]:
  """Yield the frames of consecutive parts of a sequence, as each comes.

  Args:
    sampler: the model.
    tokens: the parts; the first starts the sequence.
    longest: latent frames of the sequence, at most. A tokenizer with
      `temporal_window` does not need them, and its memory does not grow.
  """
  config, params = sampler.models.tokenizer, sampler.tokenizer_params
  parts = map(jnp.asarray, tokens)
  for frames in decode_chunks(config, params, parts, longest=longest):
    yield np.asarray(to_uint8(frames))
