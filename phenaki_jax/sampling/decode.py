"""MaskGIT decoding: uncover a grid of tokens in a few parallel steps.

Every step predicts all hidden tokens, draws one candidate for each, keeps
the most confident and hides the rest again (MaskGIT, arXiv 2202.04200,
section 3.2). Shapes are fixed, so that the whole loop is one compiled
program, and every sample has its own random key, so that it comes out the
same alone and in a batch.
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key
from pydantic import PositiveInt

from phenaki_jax.config import validated
from phenaki_jax.masked_transformer.schedules import Schedule, hidden_share
from phenaki_jax.sampling.state import DecodeState, start, uncover

Order = Literal['confidence', 'random']


@validated
class DecodeConfig:
  """The settings that are compiled into a decoding loop.

  Attributes:
    steps: decoding steps, one forward pass each (paper: 12 to 48).
    schedule: share of tokens still hidden as a function of progress.
    order: 'confidence' keeps the most likely candidates first and 'random'
      keeps any; confidence keeps plain background first, which can lose small
      objects.
  """

  steps: PositiveInt = 18
  schedule: Schedule = 'cosine'
  order: Order = 'confidence'


def draw(
  keys: Key[Array, 'B'],
  logits: Float[Array, 'B N V'],
  temperature: Float[Array, 'B'],
) -> tuple[Int[Array, 'B N'], Float[Array, 'B N']]:
  """Draw a token at each place, and return its log-probability too.

  One uniform number a place and the cumulative distribution replace the V
  Gumbel numbers of the usual way, which dominate the time on a CPU.

  Args:
    keys: one key a sample.
    logits: predictions.
    temperature: divides the logits before drawing; 0 takes the largest.
  """
  cold = temperature <= 0
  divisor = jnp.where(cold, 1.0, temperature)[:, None, None]
  probability = jax.nn.softmax(
    logits / jnp.broadcast_to(divisor, logits.shape), -1
  )
  cumulative = jnp.cumsum(probability, -1)
  uniform = jax.vmap(lambda key: jax.random.uniform(key, logits.shape[1:2]))(
    keys
  )
  level = (uniform * cumulative[..., -1])[..., None]
  drawn = jnp.sum(cumulative <= level, -1)
  drawn = jnp.minimum(drawn, logits.shape[-1] - 1)
  ids = jnp.where(cold[:, None], jnp.argmax(logits, -1), drawn)
  chosen = jnp.take_along_axis(probability, ids[..., None], -1)[..., 0]
  return ids.astype(jnp.int32), jnp.log(jnp.maximum(chosen, 1e-30))


def _choose(
  score: Float[Array, 'B N'],
  hidden: Bool[Array, 'B N'],
  keep_hidden: Int[Array, 'B'],
) -> Bool[Array, 'B N']:
  """Choose the best hidden tokens, all but `keep_hidden` of each sample."""
  score = jnp.where(hidden, score, -jnp.inf)
  rank = jnp.argsort(jnp.argsort(-score, -1), -1)
  count = jnp.sum(hidden, -1) - keep_hidden
  return hidden & (rank < count[:, None])


def decode(
  predict: Callable[[Int[Array, 'B N']], Float[Array, 'B N V']],
  *,
  ids: Int[Array, 'B N'],
  known: Bool[Array, 'B N'],
  keys: Key[Array, 'B'],
  mask_id: int,
  config: DecodeConfig,
  temperature: Float[Array, 'B'],
  choice_temperature: Float[Array, 'B'],
) -> DecodeState:
  """Uncover every token that is not known.

  Args:
    predict: maps tokens, hidden ones as `mask_id`, to guided logits.
    ids: tokens; only the known ones are read, and they never change.
    known: True at tokens given from the start.
    keys: one key a sample.
    mask_id: id that stands for a hidden token.
    config: number of steps, schedule and order.
    temperature: softens (above 1) or sharpens the draw of each token.
    choice_temperature: noise on the confidences, annealed to zero over the
      steps (MaskGIT: 4.5; Phenaki: 4 to 8).

  Returns:
    The state after the last step: nothing is hidden any more.
  """
  state = start(ids, known)
  total = jnp.sum(~known, -1)

  def body(state: DecodeState, step: Array) -> tuple[DecodeState, None]:
    progress = (step + 1) / config.steps
    folded = jax.vmap(lambda key: jax.random.fold_in(key, step))(keys)
    shown = jnp.where(state.hidden, mask_id, state.ids)
    drawn, confidence = draw(folded, predict(shown), temperature)
    noise = jax.vmap(
      lambda key: jax.random.gumbel(
        jax.random.fold_in(key, 1), confidence.shape[1:]
      )
    )(folded)
    if config.order == 'confidence':
      weight = (choice_temperature * (1.0 - progress))[:, None]
      score = confidence + jnp.broadcast_to(weight, noise.shape) * noise
    else:
      score = noise
    # The share is of the tokens hidden at the start, not of the whole grid.
    share = hidden_share(config.schedule, progress)
    # A share such as 5/6, rounded down, must not cost a whole token.
    keep = jnp.floor(total * share + 1e-3).astype(jnp.int32)
    keep = jnp.where(step == config.steps - 1, 0, keep)
    chosen = _choose(score, state.hidden, keep)
    return uncover(state, ids=drawn, chosen=chosen, step=step), None

  state, _ = jax.lax.scan(body, state, jnp.arange(config.steps))
  return state
