"""The loss of the critic: is a token real, or did the generator draw it?

The generator fills the hidden tokens of a row, and the critic reads the result
(Token-Critic, arXiv 2209.04439, section 3.1). Known tokens do not count: they
are always real, and where the generator draws the true token it is real, too.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from phenaki_jax.generator import EncodedTexts, Generator
from phenaki_jax.masked_transformer.draw import draw
from phenaki_jax.training.metrics import Mean
from phenaki_jax.training.rows import Rows


@dataclasses.dataclass(frozen=True, kw_only=True)
class CriticLoss:
  """The mean loss over hidden tokens, in nats, and the critic's metrics."""

  loss: Float[Array, '']
  metrics: dict[str, Mean]


def critic_loss(
  generator: Generator,
  params: Any,
  rows: Rows,
  texts: EncodedTexts,
  logits: Float[Array, 'R t h w V'],
  rng: PRNGKeyArray,
  *,
  count: Float[Array, ''] | None = None,
) -> CriticLoss:
  """Compute the binary cross-entropy of the critic over the hidden tokens.

  The draws have no gradient. A critic with a transformer of its own does not
  train the text encoder; a self-critic trains the features that it reads.

  Args:
    generator: with a critic.
    params: parameters of all networks.
    rows: the true tokens, and which are hidden.
    texts: the captions of the rows.
    logits: the generator's predictions.
    rng: key of the draws.
    count: hidden tokens of the whole batch, if these are rows of a micro-batch.

  Returns:
    The loss, and as metrics `critic_loss`, `critic_accuracy` and
    `critic_real`, the share of hidden tokens whose draw is the true token: a
    constant answer has the accuracy max(real, 1 - real).
  """
  num_rows = logits.shape[0]
  drawn, _ = draw(
    jax.random.split(rng, num_rows),
    jax.lax.stop_gradient(logits).reshape(num_rows, -1, logits.shape[-1]),
    jnp.ones(num_rows),
  )
  filled = jnp.where(rows.hidden, drawn.reshape(rows.ids.shape), rows.ids)
  if generator.config.critic == 'token':
    texts = jax.lax.stop_gradient(texts)
  odds = generator.criticise(params, filled, texts, **rows.places)
  real = (filled == rows.ids).astype(jnp.float32)
  found = {
    'critic_loss': optax.sigmoid_binary_cross_entropy(odds, real),
    'critic_accuracy': (odds > 0) == (real > 0),
    'critic_real': real,
  }
  metrics = {name: Mean.of(x, rows.hidden) for name, x in found.items()}
  mean = metrics['critic_loss']
  total = mean.count if count is None else count
  return CriticLoss(loss=mean.sum / jnp.maximum(total, 1.0), metrics=metrics)
