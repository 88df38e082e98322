"""Cross-entropy of the hidden tokens (Phenaki, equation 6)."""

from typing import no_type_check

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


# jax rebuilds it around leaves that are no arrays, so no checks inside.
@no_type_check
@flax.struct.dataclass
class TokenLoss:
  """Sums over the hidden tokens.

  Attributes:
    total: negative log-likelihood in nats, smoothed if asked for.
    correct: tokens whose largest logit is the right one.
    count: hidden tokens.
  """

  total: Float[Array, '']
  correct: Float[Array, '']
  count: Float[Array, '']


def token_loss(
  logits: Float[Array, '*b V'],
  ids: Int[Array, '*b'],
  hidden: Bool[Array, '*b'],
  *,
  label_smoothing: float = 0.0,
) -> TokenLoss:
  """Sum the cross-entropy over hidden tokens; shown ones do not count.

  Args:
    logits: prediction of every token.
    ids: the true tokens.
    hidden: True at the tokens that the model had to guess.
    label_smoothing: share of the target spread over all codes.
  """
  log_probability = jax.nn.log_softmax(logits.astype(jnp.float32))
  right = jnp.take_along_axis(log_probability, ids[..., None], -1)[..., 0]
  nll = -right
  if label_smoothing:
    spread = -jnp.mean(log_probability, -1)
    nll = (1.0 - label_smoothing) * nll + label_smoothing * spread
  weight = hidden.astype(jnp.float32)
  correct = (jnp.argmax(logits, -1) == ids).astype(jnp.float32)
  return TokenLoss(
    total=jnp.sum(nll * weight),
    correct=jnp.sum(correct * weight),
    count=jnp.sum(weight),
  )
