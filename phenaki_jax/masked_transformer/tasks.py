"""Tasks of one model: which tokens of a clip are known.

As in MAGVIT's COMMIT (arXiv 2212.05199, section 3.2) one model learns all tasks
in the same step. Here the known tokens are simply shown: the tokenizer is
causal, so that the first frames tell nothing of later ones. For
sampling, `Sampler.uncover` takes the same masks of known tokens.
"""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key

from phenaki_jax.masked_transformer.masking import prefix_mask
from phenaki_jax.rng import stream


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clips:
  """The clips whose known tokens are wanted.

  Attributes:
    key: random key.
    grid: latent frames, rows and columns.
    num_latent: latent frames of each clip that are not padding.
    prefix: latent frames that are known in a prediction.
  """

  key: Key[Array, '']
  grid: tuple[int, int, int]
  num_latent: Int[Array, 'B']
  prefix: int


def _generation(clips: Clips) -> Bool[Array, 'B N']:
  """Nothing is known."""
  return prefix_mask(jnp.zeros_like(clips.num_latent), clips.grid)


def _prediction(clips: Clips) -> Bool[Array, 'B N']:
  """The first latent frames are known."""
  frames = jnp.minimum(clips.prefix, clips.num_latent - 1)
  return prefix_mask(frames, clips.grid)


def _interpolation(clips: Clips) -> Bool[Array, 'B N']:
  """The first and the last latent frame are known, if there are others."""
  first = prefix_mask(jnp.minimum(1, clips.num_latent - 1), clips.grid)
  last = prefix_mask(clips.num_latent, clips.grid) & ~prefix_mask(
    clips.num_latent - 1, clips.grid
  )
  return first | (last & (clips.num_latent > 2)[:, None])


def _box(clips: Clips) -> Bool[Array, 'B N']:
  """Draw a box of half the rows and columns, the same in all latent frames."""
  t, h, w = clips.grid
  inside = []
  for side, key in zip(
    (h, w), jax.random.split(stream(clips.key, 'box')), strict=True
  ):
    extent = (side + 1) // 2
    start = jax.random.randint(
      key, clips.num_latent.shape, 0, side - extent + 1, jnp.int32
    )[:, None]
    index = jnp.arange(side)[None]
    inside.append((index >= start) & (index < start + extent))
  box = inside[0][:, :, None] & inside[1][:, None, :]
  return jnp.tile(box.reshape(-1, h * w), (1, t))


def _inpainting(clips: Clips) -> Bool[Array, 'B N']:
  """Everything outside a box is known."""
  return ~_box(clips)


def _outpainting(clips: Clips) -> Bool[Array, 'B N']:
  """Everything inside a box is known."""
  return _box(clips)


TASKS: Mapping[str, Callable[[Clips], Bool[Array, 'B N']]] = MappingProxyType(
  {
    'generation': _generation,
    'prediction': _prediction,
    'interpolation': _interpolation,
    'inpainting': _inpainting,
    'outpainting': _outpainting,
  }
)


def known_tokens(
  clips: Clips, shares: Mapping[str, float]
) -> Bool[Array, 'B N']:
  """Draw a task for each clip, and return its known tokens.

  Args:
    clips: the clips.
    shares: share of the clips of each task; the rest is generation.
  """
  known = _generation(clips)
  below = 0.0
  for name, share in shares.items():
    if share:
      chosen = chosen_by(clips, below, share)
      known = jnp.where(chosen[:, None], TASKS[name](clips), known)
    below += share
  return known


def chosen_by(clips: Clips, below: float, share: float) -> Bool[Array, 'B']:
  """Return the clips whose draw of a task is in [below, below + share)."""
  key = stream(clips.key, 'task')
  drawn = jax.random.uniform(key, clips.num_latent.shape, jnp.float32)
  return (drawn >= below) & (drawn < below + share)
