"""Windows of longer clips, as a sampler that carries on tokens sees them.

The tokens of a window that starts in the middle of a clip were computed with
the earlier frames in view, and each of its latent frames holds a whole tubelet.
A clip of the data is therefore longer than the clips of the generator, is
encoded as a whole, and a window is cut out of its tokens.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from phenaki_jax.rng import stream


def cut_windows(
  clips: Mapping[str, Any],
  rng: PRNGKeyArray,
  *,
  length: int,
  share: float | Array,
  tubelet: int,
) -> dict[str, Any]:
  """Cut a window out of the tokens of each clip.

  Args:
    clips: arrays of longer clips; see `data/spec.py`.
    rng: random key.
    length: latent frames of a window.
    share: of the clips whose window starts after the first latent frame, at any
      other. Those that are not longer than a window start with the first.
    tubelet: frames per latent frame, after the first.

  Returns:
    The arrays, with the numbers of frames that as many latent frames hold at
    the start of a clip.
  """
  latent = 1 + (clips['num_frames'] - 1) // tubelet
  most = jnp.maximum(latent - length, 0)
  start = jax.random.randint(
    stream(rng, 'midway_start'), most.shape, 1, jnp.maximum(most, 1) + 1
  )
  key = stream(rng, 'midway')
  chosen = jax.random.bernoulli(key, share, most.shape)
  start = jnp.where(chosen & (most > 0), start, 0)
  index = (start[:, None] + jnp.arange(length)[None])[:, :, None, None]
  found = dict(clips)
  for name in ('tokens', 'reencoded'):
    if name in clips:
      found[name] = jnp.take_along_axis(clips[name], index, 1)
  context = jnp.where(
    clips['context_frames'] > 0,
    1 + (clips['context_frames'] - 1) // tubelet - start,
    0,
  )
  found['num_frames'] = 1 + (jnp.minimum(latent - start, length) - 1) * tubelet
  found['context_frames'] = jnp.where(
    context > 0, 1 + (context - 1) * tubelet, 0
  )
  return found
