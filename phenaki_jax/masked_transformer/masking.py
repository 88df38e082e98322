"""Which tokens of a training example to hide.

Every example draws its own share (MaskGIT draws a share for each, MAGVIT's
code one for the batch). Tokens of a known prefix are never hidden, and the
share is taken of the others, so that continuing a clip is trained at every
stage of decoding too.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from phenaki_jax.masked_transformer.schedules import Schedule, hidden_share


def prefix_mask(
  steps: Int[Array, 'B'], grid: tuple[int, int, int]
) -> Bool[Array, 'B N']:
  """Mark the tokens of the first `steps` latent steps of each example."""
  t, h, w = grid
  step_of_token = jnp.repeat(jnp.arange(t), h * w)
  return step_of_token[None, :] < steps[:, None]


def hide(
  rng: PRNGKeyArray,
  *,
  maskable: Bool[Array, 'B N'],
  schedule: Schedule = 'cosine',
) -> Bool[Array, 'B N']:
  """Choose the tokens to hide: ceil(share * maskable), at random.

  Args:
    rng: key of this draw.
    maskable: tokens that may be hidden; an example without any stays whole.
    schedule: maps a uniform draw to the share hidden.

  Returns:
    True at hidden tokens; at least one of each example that has any.
  """
  rng_share, rng_order = jax.random.split(rng)
  batch = maskable.shape[0]
  share = hidden_share(schedule, jax.random.uniform(rng_share, (batch,)))
  count = jnp.sum(maskable, -1)
  wanted = jnp.ceil(share * count)
  wanted = jnp.clip(wanted, jnp.minimum(1, count), count)
  noise = jax.random.uniform(rng_order, maskable.shape)
  noise = jnp.where(maskable, noise, 2.0)
  rank = jnp.argsort(jnp.argsort(noise, -1), -1)
  return (rank < wanted[:, None]) & maskable
