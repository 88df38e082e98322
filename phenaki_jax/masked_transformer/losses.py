"""Cross-entropy of the hidden tokens (Phenaki, equation 6)."""

from typing import no_type_check

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


# No type checks: JAX also builds it around leaves that are not arrays.
@no_type_check
@flax.struct.dataclass
class TokenLoss:
  """Sums over the hidden tokens.

  Attributes:
    total: negative log-likelihood in nats.
    correct: number of tokens whose largest logit is at the true id.
    count: number of hidden tokens; the sum of the weights if given.
  """

  total: Float[Array, '']
  correct: Float[Array, '']
  count: Float[Array, '']


def token_loss(
  logits: Float[Array, '*b V'],
  ids: Int[Array, '*b'],
  hidden: Bool[Array, '*b'],
  *,
  weights: Float[Array, '*b'] | None = None,
) -> TokenLoss:
  """Sum the cross-entropy over the hidden tokens; known tokens do not count.

  Args:
    logits: predictions for every token.
    ids: the true token ids.
    hidden: True at hidden tokens.
    weights: weight of each token in all sums; 1 if not given.
  """
  logits = logits.astype(jnp.float32)
  total = jax.nn.logsumexp(logits, -1)
  codes = jnp.arange(logits.shape[-1]).reshape((1,) * ids.ndim + (-1,))
  # A masked sum, because the gradient of a gather would be a scatter.
  right = jnp.sum(jnp.where(ids[..., None] == codes, logits, 0.0), -1)
  nll = total - right
  weight = hidden.astype(jnp.float32)
  if weights is not None:
    weight = weight * weights
  correct = (jnp.argmax(logits, -1) == ids).astype(jnp.float32)
  return TokenLoss(
    total=jnp.sum(nll * weight),
    correct=jnp.sum(correct * weight),
    count=jnp.sum(weight),
  )
