"""MaskGIT decoding: uncover a grid of tokens in a few parallel steps.

Each decoding step predicts all hidden tokens, draws a candidate for each, keeps
the candidates with the highest scores and leaves the rest hidden (MaskGIT,
arXiv 2202.04200, section 3.2). The score is the candidate's log-probability,
noise, a fixed order, or a critic's. Shapes are static, so that the loop
compiles to one program. Each sample has its own random key, so that its result
does not depend on the rest of the batch.
"""

import functools
from collections.abc import Callable
from typing import no_type_check

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from phenaki_jax import rng as rngs
from phenaki_jax.masked_transformer.draw import draw
from phenaki_jax.masked_transformer.schedules import hidden_share
from phenaki_jax.sampling.config import DecodeConfig
from phenaki_jax.sampling.halton import halton_ranks

Critic = Callable[[Int[Array, 'B N']], Float[Array, 'B N']]
"""Scores token ids without hidden tokens: the higher, the likelier real."""

# Of the order 'revise': the share of the steps that make the draft, and of the
# tokens that are hidden again after it.
DRAFT_SHARE = 0.6
RENOISED_SHARE = 0.4


# No type checks: JAX also builds it around leaves that are not arrays.
@no_type_check
@flax.struct.dataclass
class DecodeState:
  """A batch of partly decoded token grids, flattened.

  Attributes:
    ids: token ids; where hidden, the last candidates.
    hidden: True at tokens that are not decoded yet.
    uncovered_at: decoding step that uncovered each token; -1 for known and
      for hidden tokens.
    confidence: log-probability of each token when it was drawn; 0 for known
      ones.
  """

  ids: Int[Array, 'B N']
  hidden: Bool[Array, 'B N']
  uncovered_at: Int[Array, 'B N']
  confidence: Float[Array, 'B N']


def _settled(
  score: Float[Array, 'B N'],
  unknown: Bool[Array, 'B N'],
  keep_hidden: Int[Array, 'B'],
) -> Bool[Array, 'B N']:
  """Choose the unknown tokens to keep: all but the `keep_hidden` lowest."""
  score = jnp.where(unknown, score, -jnp.inf)
  rank = jnp.argsort(jnp.argsort(-score, -1), -1)
  count = jnp.sum(unknown, -1) - keep_hidden
  return unknown & (rank < count[:, None])


def _keep_hidden(
  config: DecodeConfig,
  step: Int[Array, ''],
  *,
  steps: Int[Array, 'B'],
  total: Int[Array, 'B'],
  hidden: Int[Array, 'B'],
) -> Int[Array, 'B']:
  """Return how many tokens of each sample stay hidden after a decoding step.

  Every step uncovers at least one token, and leaves at least one for each step
  that follows. The last step of a draft hides tokens again.
  """
  # The share refers to the tokens hidden at the start, not to the grid.
  done = jnp.broadcast_to((step + 1).astype(jnp.float32), steps.shape)
  most = hidden - 1
  if config.order == 'revise':
    draft = jnp.ceil(DRAFT_SHARE * steps)
    later = jnp.maximum(done - draft, 0) / jnp.maximum(steps - draft, 1)
    share = jnp.where(
      done < draft,
      hidden_share(config.schedule, done / jnp.maximum(draft, 1)),
      RENOISED_SHARE * hidden_share(config.schedule, later),
    )
    most = jnp.where(done == draft, total - 1, most)
  else:
    share = hidden_share(config.schedule, done / jnp.maximum(steps, 1))
  # Rounding errors in a share such as 5/6 must not change the floor.
  keep = jnp.floor(total * share + 1e-3).astype(jnp.int32)
  left = steps - 1 - step
  keep = jnp.clip(keep, left, most)
  return jnp.where(left > 0, keep, 0)


def _halton_scores(
  keys: Key[Array, 'B'], grid: tuple[int, int, int]
) -> Float[Array, 'B N']:
  """Score tokens by their place in the sequence, shifted at random."""

  def shifted(key: Array) -> Array:
    shifts = jax.random.randint(key, (3,), 0, jnp.array(grid), jnp.int32)
    ranks = jnp.asarray(halton_ranks(grid), jnp.float32).reshape(grid)
    return jnp.roll(ranks, shifts, (0, 1, 2)).reshape(-1)

  return -jax.vmap(shifted)(keys)


def decode(
  predict: Callable[
    [Int[Array, 'B N'], Float[Array, 'B']], Float[Array, 'B N V']
  ],
  *,
  ids: Int[Array, 'B N'],
  known: Bool[Array, 'B N'],
  keys: Key[Array, 'B'],
  mask_id: int,
  config: DecodeConfig,
  temperature: Float[Array, 'B'],
  choice_temperature: Float[Array, 'B'],
  critic: Critic | None = None,
  grid: tuple[int, int, int] | None = None,
) -> DecodeState:
  """Decode every token that is not known.

  A sample with fewer unknown tokens than `config.steps` takes as many steps as
  it has unknown tokens.

  Args:
    predict: maps token ids, with `mask_id` at hidden tokens, and the progress
      of each sample in [0, 1] to logits.
    ids: token ids; only the known ones are read, and they never change.
    known: True at known tokens.
    keys: one key per sample.
    mask_id: id of the mask token.
    config: number of decoding steps, schedule and order.
    temperature: temperature of each token's draw; 0 is greedy.
    choice_temperature: scale of the noise added to the scores, annealed to
      zero over the decoding steps (MaskGIT: 4.5; Phenaki: 4 to 8).
    critic: scores the tokens; for the order 'critic'.
    grid: latent frames, rows and columns of the N tokens; for 'halton'.

  Returns:
    The state after the last decoding step, with no token hidden.
  """
  total = jnp.sum(~known, -1)
  steps = jnp.minimum(config.steps, total)

  fixed = None
  if config.order == 'halton':
    assert grid is not None, 'the order "halton" needs the grid'
    stream = functools.partial(rngs.stream, name='halton')
    fixed = _halton_scores(jax.vmap(stream)(keys), grid)

  def score(
    filled: Array, confidence: Array, hidden: Array, noise: Array, step: Array
  ) -> Array:
    """Score all tokens; those with the highest scores are kept."""
    if config.order == 'random':
      return jnp.where(hidden, noise, jnp.inf)
    if fixed is not None:
      return jnp.where(hidden, fixed, jnp.inf)
    left = 1.0 - (step + 1).astype(jnp.float32) / jnp.maximum(steps, 1)
    if config.order == 'gumbel':
      left = jnp.ones_like(left)
    weight = jnp.broadcast_to((choice_temperature * left)[:, None], noise.shape)
    if config.order == 'revise':
      # After the draft, any token may be hidden again.
      last = step + 1 == jnp.ceil(DRAFT_SHARE * steps)
      return jnp.where(
        hidden | last[:, None], confidence + weight * noise, jnp.inf
      )
    if config.order != 'critic':
      return jnp.where(hidden, confidence + weight * noise, jnp.inf)
    # A critic also takes back tokens of earlier steps (Token-Critic, arXiv
    # 2209.04439, section 3.2).
    assert critic is not None, 'the order "critic" needs a critic'
    return critic(filled) + weight * noise

  def body(step: Array, state: DecodeState) -> DecodeState:
    of_step = jax.vmap(lambda key: rngs.at_step(key, step))(keys)
    of_draw, of_order = (
      jax.vmap(functools.partial(rngs.stream, name=name))(of_step)
      for name in ('draw', 'order')
    )
    progress = jnp.minimum(step / jnp.maximum(steps - 1, 1), 1.0)
    logits = predict(
      jnp.where(state.hidden, mask_id, state.ids), progress.astype(jnp.float32)
    )
    drawn, drawn_confidence = draw(of_draw, logits, temperature)
    filled = jnp.where(state.hidden, drawn, state.ids)
    confidence = jnp.where(state.hidden, drawn_confidence, state.confidence)
    noise = jax.vmap(
      lambda key: jax.random.gumbel(key, confidence.shape[1:], jnp.float32)
    )(of_order)
    keep = _keep_hidden(
      config,
      step,
      steps=steps,
      total=total,
      hidden=jnp.sum(state.hidden, -1),
    )
    settled = _settled(
      score(filled, confidence, state.hidden, noise, step), ~known, keep
    )
    # A sample that is done waits for the others.
    settled = jnp.where((step < steps)[:, None], settled, ~known)
    return DecodeState(
      ids=filled,
      hidden=~known & ~settled,
      uncovered_at=jnp.where(settled & state.hidden, step, state.uncovered_at),
      confidence=confidence,
    )

  start = DecodeState(
    ids=jnp.where(known, ids, 0),
    hidden=~known,
    uncovered_at=jnp.full(ids.shape, -1, jnp.int32),
    confidence=jnp.zeros(ids.shape, jnp.float32),
  )
  return jax.lax.fori_loop(0, jnp.max(steps), body, start)
