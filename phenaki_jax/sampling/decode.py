"""MaskGIT decoding: uncover a grid of tokens in a few parallel steps.

Each decoding step predicts all hidden tokens, draws a candidate for each, keeps
the most confident candidates and leaves the rest hidden (MaskGIT, arXiv
2202.04200, section 3.2). Shapes are static, so that the loop compiles to one
program. Each sample has its own random key, so that its result does not depend
on the rest of the batch.
"""

from collections.abc import Callable
from typing import Literal, no_type_check

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key
from pydantic import PositiveInt

from phenaki_jax.config import validated
from phenaki_jax.masked_transformer.schedules import Schedule, hidden_share

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


# No type checks: JAX also builds it around leaves that are not arrays.
@no_type_check
@flax.struct.dataclass
class DecodeState:
  """A batch of partly decoded token grids, flattened.

  Attributes:
    ids: token ids; undefined where hidden.
    hidden: True at tokens that are not decoded yet.
    uncovered_at: decoding step that uncovered each token; -1 for known and
      for hidden tokens.
  """

  ids: Int[Array, 'B N']
  hidden: Bool[Array, 'B N']
  uncovered_at: Int[Array, 'B N']


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
    Token ids and their log-probabilities.
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
  chosen = jnp.take_along_axis(probability, ids[..., None], -1)[..., 0]
  return ids.astype(jnp.int32), jnp.log(jnp.maximum(chosen, 1e-30))


def _choose(
  score: Float[Array, 'B N'],
  hidden: Bool[Array, 'B N'],
  keep_hidden: Int[Array, 'B'],
) -> Bool[Array, 'B N']:
  """Choose the hidden tokens to uncover: all but the `keep_hidden` lowest."""
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
  """Decode every token that is not known.

  Args:
    predict: maps token ids, with `mask_id` at hidden tokens, to logits.
    ids: token ids; only the known ones are read, and they never change.
    known: True at known tokens.
    keys: one key per sample.
    mask_id: id of the mask token.
    config: number of decoding steps, schedule and order.
    temperature: temperature of each token's draw; 0 is greedy.
    choice_temperature: scale of the noise added to the confidences, annealed to
      zero over the decoding steps (MaskGIT: 4.5; Phenaki: 4 to 8).

  Returns:
    The state after the last decoding step, with no token hidden.
  """
  state = DecodeState(
    ids=jnp.where(known, ids, 0),
    hidden=~known,
    uncovered_at=jnp.full(ids.shape, -1, jnp.int32),
  )
  total = jnp.sum(~known, -1)

  def body(state: DecodeState, step: Array) -> tuple[DecodeState, None]:
    progress = (step + 1).astype(jnp.float32) / config.steps
    folded = jax.vmap(lambda key: jax.random.fold_in(key, step))(keys)
    logits = predict(jnp.where(state.hidden, mask_id, state.ids))
    drawn, confidence = draw(folded, logits, temperature)
    noise = jax.vmap(
      lambda key: jax.random.gumbel(
        jax.random.fold_in(key, 1), confidence.shape[1:], jnp.float32
      )
    )(folded)
    if config.order == 'confidence':
      weight = (choice_temperature * (1.0 - progress))[:, None]
      score = confidence + jnp.broadcast_to(weight, noise.shape) * noise
    else:
      score = noise
    # The share refers to the tokens hidden at the start, not to the grid.
    share = hidden_share(config.schedule, progress)
    # Rounding errors in a share such as 5/6 must not change the floor.
    keep = jnp.floor(total * share + 1e-3).astype(jnp.int32)
    keep = jnp.where(step == config.steps - 1, 0, keep)
    chosen = _choose(score, state.hidden, keep)
    state = DecodeState(
      ids=jnp.where(chosen, drawn, state.ids),
      hidden=state.hidden & ~chosen,
      uncovered_at=jnp.where(chosen, step, state.uncovered_at),
    )
    return state, None

  state, _ = jax.lax.scan(
    body, state, jnp.arange(config.steps, dtype=jnp.int32)
  )
  return state
