"""Draw tokens from predicted distributions."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key


def draw(
  keys: Key[Array, 'B'],
  logits: Float[Array, 'B N V'],
  temperature: Float[Array, 'B'],
) -> tuple[Int[Array, 'B N'], Float[Array, 'B N']]:
  """Draw a token at each position from its predicted distribution.

  It inverts the cumulative distribution at one uniform number per position. The
  usual Gumbel trick needs V random numbers, which dominate the time on a CPU.

  Args:
    keys: one key per sample.
    logits: predictions.
    temperature: divides the logits; 0 selects the largest logit.

  Returns:
    Token ids, and their log-probabilities at temperature 1: a low temperature
    makes nearly all draws certain, so that theirs would hardly be ordered.
  """
  greedy = temperature <= 0
  divisor = jnp.where(greedy, 1.0, temperature)[:, None, None]
  probability = jax.nn.softmax(
    logits / jnp.broadcast_to(divisor, logits.shape), -1
  )
  cumulative = jnp.cumsum(probability, -1)
  uniform = jax.vmap(
    lambda key: jax.random.uniform(key, logits.shape[1:2], jnp.float32)
  )(keys)
  level = (uniform * cumulative[..., -1])[..., None]
  drawn = jnp.sum(cumulative <= level, -1)
  drawn = jnp.minimum(drawn, logits.shape[-1] - 1)
  ids = jnp.where(greedy[:, None], jnp.argmax(logits, -1), drawn)
  chosen = jnp.take_along_axis(logits, ids[..., None], -1)[..., 0]
  return ids.astype(jnp.int32), chosen - jax.nn.logsumexp(logits, -1)
