"""Choose which tokens of a training example are hidden.

Every example draws its own share of hidden tokens, as in MaskGIT (MAGVIT's code
draws one per batch). Tokens of a known prefix are never hidden, and the share
is a share of the other tokens, so that continuing a clip is trained at every
stage of decoding too.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from phenaki_jax.masked_transformer.config import Schedule
from phenaki_jax.masked_transformer.schedules import hidden_share


def prefix_mask(
  frames: Int[Array, 'B'], grid: tuple[int, int, int]
) -> Bool[Array, 'B N']:
  """Return True at the tokens of the first `frames` latent frames."""
  t, h, w = grid
  frame_of_token = jnp.repeat(jnp.arange(t), h * w)
  return frame_of_token[None, :] < frames[:, None]


def hide(
  rng: PRNGKeyArray,
  *,
  maskable: Bool[Array, 'B N'],
  schedule: Schedule = 'cosine',
  part: float | Float[Array, ''] | None = None,
) -> Bool[Array, 'B N']:
  """Choose the tokens to hide: ceil(share * maskable), at random.

  Args:
    rng: random key.
    maskable: True at tokens that may be hidden.
    schedule: maps a uniform draw to the share of hidden tokens.
    part: if given, example i does not draw its share but takes that of
      (i + part) / B, so that the shares are evenly spaced; in (0, 1).

  Returns:
    True at hidden tokens: at least one per example with maskable tokens.
  """
  rng_share, rng_order = jax.random.split(rng)
  batch = maskable.shape[0]
  if part is None:
    drawn = jax.random.uniform(rng_share, (batch,), jnp.float32)
  else:
    drawn = (jnp.arange(batch, dtype=jnp.float32) + part) / batch
  share = hidden_share(schedule, drawn)
  count = jnp.sum(maskable, -1)
  wanted = jnp.ceil(share * count)
  wanted = jnp.clip(wanted, jnp.minimum(1, count), count)
  noise = jax.random.uniform(rng_order, maskable.shape, jnp.float32)
  noise = jnp.where(maskable, noise, 2.0)
  rank = jnp.argsort(jnp.argsort(noise, -1), -1)
  return (rank < wanted[:, None]) & maskable
