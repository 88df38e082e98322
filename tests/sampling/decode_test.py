"""Invariants of masked decoding, with artificial predictions."""

import functools
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax import rng
from phenaki_jax.masked_transformer.draw import draw
from phenaki_jax.masked_transformer.schedules import SCHEDULES
from phenaki_jax.sampling.config import DecodeConfig, Order
from phenaki_jax.sampling.decode import decode
from phenaki_jax.sampling.halton import halton_ranks

BATCH, TOKENS, CODES = 3, 24, 7
GRID = (2, 3, 4)
GENERATOR = np.random.default_rng(0)
IDS = GENERATOR.integers(0, CODES, (BATCH, TOKENS)).astype(np.int32)
# No token of the first sample is known, some of the second, all of the third.
KNOWN = np.stack(
  [
    np.zeros(TOKENS, bool),
    GENERATOR.random(TOKENS) < 0.4,
    np.ones(TOKENS, bool),
  ]
)
TABLE = GENERATOR.normal(size=(BATCH, TOKENS, CODES)).astype(np.float32) * 2

draw_jit = jax.jit(draw)


def _keys(*seeds):
  return jnp.stack([rng.root(seed) for seed in seeds])


def _oracle(shown, progress):
  """Predict the true tokens with certainty."""
  return 50.0 * jax.nn.one_hot(IDS, CODES)


def _counter(shown, progress):
  """Predict the number of hidden tokens, modulo CODES, at every position."""
  hidden = jnp.sum(shown == CODES, -1) % CODES
  return 50.0 * jnp.broadcast_to(
    jax.nn.one_hot(hidden, CODES)[:, None], (*shown.shape, CODES)
  )


def _table(shown, progress):
  """Predict a fixed table, slightly scaled depending on the visible tokens."""
  seen = jnp.sum(shown, -1)[:, None, None].astype(jnp.float32)
  table = jnp.asarray(TABLE[: shown.shape[0]])
  return table * (1.0 + 0.01 * jnp.broadcast_to(jnp.sin(seen), table.shape))


def _critic(filled):
  """Take the true tokens for real, and prefer the first of them."""
  is_true = 1.0 * (filled == IDS[: len(filled)])
  return is_true - 1e-3 * jnp.arange(TOKENS)[None]


@functools.partial(jax.jit, static_argnums=(0, 1))
def _decode(predict, config, ids, known, keys, temperature, choice):
  return decode(
    predict,
    ids=ids,
    known=known,
    keys=keys,
    mask_id=CODES,
    config=config,
    temperature=temperature,
    choice_temperature=choice,
    critic=_critic if config.order == 'critic' else None,
    grid=GRID,
  )


def _run(
  predict,
  *,
  known=KNOWN,
  ids=IDS,
  keys=None,
  temperature=1.0,
  choice=4.5,
  **config,
):
  keys = _keys(*range(len(ids))) if keys is None else keys
  state = _decode(
    predict,
    DecodeConfig(**config),
    ids,
    known,
    keys,
    np.full(len(ids), temperature, np.float32),
    np.full(len(ids), choice, np.float32),
  )
  return jax.tree.map(np.asarray, state)


@pytest.mark.parametrize('order', typing.get_args(Order))
def test_nothing_stays_hidden_and_nothing_known_changes(order):
  state = _run(_table, steps=5, order=order)
  assert not state.hidden.any()
  np.testing.assert_array_equal(state.ids[KNOWN], IDS[KNOWN])
  assert (state.uncovered_at[KNOWN] == -1).all()
  assert (state.uncovered_at[~KNOWN] >= 0).all()
  assert (state.uncovered_at < 5).all()
  assert (state.ids >= 0).all() and (state.ids < CODES).all()
  assert (state.ids[0] != IDS[0]).any()


@pytest.mark.parametrize(
  ('schedule', 'steps'),
  [*((name, 6) for name in SCHEDULES), ('cosine', 1), ('linear', 30)],
)
def test_number_of_tokens_per_step_follows_the_schedule(schedule, steps):
  state = _run(_counter, steps=steps, schedule=schedule)
  progress = (np.arange(steps) + 1) / steps
  share = np.asarray(SCHEDULES[schedule](jnp.asarray(progress)), np.float64)
  for row in range(BATCH):
    total = (~KNOWN[row]).sum()
    if total < steps:
      continue  # see the test of fewer tokens than steps
    left = np.floor(total * np.clip(share, 0, 1) + 1e-3).astype(int)
    left[-1] = 0
    for step in range(steps - 1):
      # At least one token in this step, and in each that follows.
      before = left[step - 1] if step else total
      left[step] = np.clip(left[step], steps - 1 - step, before - 1)
    uncovered = -np.diff([total, *left])
    assert uncovered.min() > 0
    counts = np.bincount(state.uncovered_at[row][~KNOWN[row]], minlength=steps)
    np.testing.assert_array_equal(counts, uncovered)
    # Each token is the one predicted at the step that uncovered it.
    hidden_at = np.array([total, *left[:-1]])
    at = state.uncovered_at[row][~KNOWN[row]]
    np.testing.assert_array_equal(
      state.ids[row][~KNOWN[row]], hidden_at[at] % CODES
    )


@pytest.mark.parametrize('order', ['confidence', 'random', 'halton'])
def test_no_more_steps_than_tokens_and_no_step_without_a_token(order):
  seen = []

  def spy(shown, progress):
    jax.debug.callback(lambda x: seen.append(np.array(x)), shown)
    return _table(shown, progress)

  state = _run(spy, steps=36, order=order)
  jax.effects_barrier()
  most = (~KNOWN).sum(1).max()
  assert len(seen) == most == TOKENS
  for row in range(BATCH):
    at = np.sort(state.uncovered_at[row][~KNOWN[row]])
    np.testing.assert_array_equal(at, np.arange((~KNOWN[row]).sum()))


@pytest.mark.parametrize('order', typing.get_args(Order))
def test_each_step_uncovers_a_token_and_each_key_gives_one_result(order):
  known = np.zeros_like(KNOWN)
  one, same = (_run(_table, steps=7, order=order, known=known) for _ in '12')
  other = _run(_table, steps=7, order=order, known=known, keys=_keys(5, 6, 7))
  for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(same), strict=True):
    np.testing.assert_array_equal(a, b)
  assert (one.ids != other.ids).any()
  assert (one.uncovered_at != other.uncovered_at).any()
  if order not in ('critic', 'revise'):  # They uncover some tokens again.
    for row in one.uncovered_at:
      assert set(row) == set(range(7))
  assert (one.confidence < 0).all()


def test_a_revision_draws_the_least_likely_tokens_anew():
  hidden = []

  def spy(shown, progress):
    jax.debug.callback(lambda x: hidden.append((x == CODES).sum(-1)), shown)
    return _table(shown, progress)

  state = _run(spy, steps=10, order='revise', choice=0.0)
  jax.effects_barrier()
  counts = np.array(hidden)[:, 0]
  # A draft of six steps, after which 40% of 24 tokens are hidden again.
  assert counts[0] == TOKENS and counts[6] == 9
  assert (np.diff(counts[:6]) < 0).all() and (np.diff(counts[6:]) < 0).all()
  again = state.uncovered_at[0] >= 6
  assert again.sum() == 9
  np.testing.assert_array_equal(state.ids[KNOWN], IDS[KNOWN])


def test_halton_order_is_spread_in_every_prefix():
  grid = (4, 6, 6)
  ranks = halton_ranks(grid)
  assert sorted(ranks) == list(range(144))
  cells = np.stack(np.unravel_index(np.argsort(ranks), grid), -1)
  for count in (12, 36, 72):
    for axis, side in enumerate(grid):
      in_slice = np.bincount(cells[:count, axis], minlength=side)
      assert in_slice.max() - in_slice.min() <= 0.35 * count / side + 2
  # Random places leave the neighbours of a first token alone less often.
  first = cells[:16]
  apart = np.abs(first[:, None] - first[None]).sum(-1) + 99 * np.eye(16)
  assert apart.min() >= 2


def test_progress_goes_from_zero_to_one_in_each_sample():
  seen = []

  def spy(shown, progress):
    jax.debug.callback(lambda x: seen.append(np.array(x)), progress)
    return _table(shown, progress)

  _run(spy, steps=5)
  jax.effects_barrier()
  values = np.array(seen)
  np.testing.assert_allclose(values[:, 0], np.arange(5) / 4)
  np.testing.assert_allclose(values[:, 1], np.arange(5) / 4)


def test_a_critic_takes_back_what_it_takes_for_drawn():
  """Only true tokens are kept, so that later draws find more of them."""

  def right(order):
    known = np.zeros_like(KNOWN)
    keys = [_keys(*range(3 * i, 3 * i + 3)) for i in range(4)]
    return np.mean(
      [
        _run(_table, steps=8, order=order, known=known, keys=k, choice=0.0).ids
        == IDS
        for k in keys
      ]
    )

  assert right('critic') > 1.6 * right('random')
  state = _run(_table, steps=8, order='critic', choice=0.0)
  # A token that was taken back and drawn again was uncovered later.
  assert (state.uncovered_at[0] > 0).any()
  np.testing.assert_array_equal(state.ids[KNOWN], IDS[KNOWN])


@pytest.mark.parametrize('temperature', [0.0, 1.0])
def test_certain_predictions_are_decoded_exactly(temperature):
  state = _run(_oracle, steps=4, temperature=temperature)
  np.testing.assert_array_equal(state.ids, IDS)


def test_ids_of_unknown_tokens_are_ignored():
  other = np.where(KNOWN, IDS, (IDS + 1) % CODES)
  for one, two in zip(
    jax.tree.leaves(_run(_table, steps=5)),
    jax.tree.leaves(_run(_table, steps=5, ids=other)),
    strict=True,
  ):
    np.testing.assert_array_equal(one, two)


def test_model_sees_the_mask_id_at_hidden_tokens():
  seen = []

  def spy(shown, progress):
    jax.debug.callback(lambda x: seen.append(np.array(x)), shown)
    return _table(shown, progress)

  state = _run(spy, steps=4)
  jax.effects_barrier()
  assert len(seen) == 4
  for step, shown in enumerate(seen):
    hidden = state.uncovered_at >= step
    np.testing.assert_array_equal(shown == CODES, hidden)
    np.testing.assert_array_equal(shown[~hidden], state.ids[~hidden])


def test_sample_does_not_depend_on_the_batch():
  known = np.zeros_like(KNOWN)
  keys = _keys(7, 8, 9)
  state = _run(_table, steps=5, keys=keys, known=known)
  alone = _run(_table, steps=5, keys=keys[:1], known=known[:1], ids=IDS[:1])
  np.testing.assert_array_equal(alone.ids[0], state.ids[0])
  np.testing.assert_array_equal(alone.uncovered_at[0], state.uncovered_at[0])


def test_result_depends_on_the_key_only():
  known = np.zeros_like(KNOWN)
  one = _run(_table, steps=5, keys=_keys(1, 2, 3), known=known)
  same = _run(_table, steps=5, keys=_keys(1, 2, 3), known=known)
  other = _run(_table, steps=5, keys=_keys(4, 2, 3), known=known)
  np.testing.assert_array_equal(one.ids, same.ids)
  np.testing.assert_array_equal(one.ids[1:], other.ids[1:])
  assert (one.ids[0] != other.ids[0]).any()
  assert (one.uncovered_at[0] != other.uncovered_at[0]).any()


def test_most_confident_tokens_come_first_without_noise():
  table = np.asarray(jax.nn.softmax(TABLE, -1)).max(-1)
  state = _run(
    _table,
    steps=6,
    temperature=0.0,
    choice=0.0,
    known=np.zeros_like(KNOWN),
  )
  for row in range(BATCH):
    first = state.uncovered_at[row] == 0
    assert first.any()
    assert table[row][first].min() > table[row][~first].max() - 0.02


def test_random_order_ignores_confidence():
  def mean_step_of_most_confident(order):
    confident = np.argsort(TABLE.max(-1) - TABLE.mean(-1), axis=-1)[:, -8:]
    steps = [
      _run(
        _table,
        steps=6,
        order=order,
        choice=0.0,
        temperature=0.0,
        known=np.zeros_like(KNOWN),
        keys=_keys(*range(BATCH * i, BATCH * (i + 1))),
      ).uncovered_at
      for i in range(8)
    ]
    return np.mean([np.take_along_axis(x, confident, -1) for x in steps])

  everything = _run(_table, steps=6, known=np.zeros_like(KNOWN)).uncovered_at
  assert mean_step_of_most_confident('confidence') < everything.mean() - 0.5
  assert mean_step_of_most_confident('random') == pytest.approx(
    everything.mean(), abs=0.4
  )


def _draws(temperature, number=4000):
  logits = np.tile(TABLE[:1, :1], (1, number, 1))
  ids, log_probability = draw_jit(
    _keys(3), logits, np.full(1, temperature, np.float32)
  )
  return np.asarray(ids)[0], np.asarray(log_probability)[0]


@pytest.mark.parametrize('temperature', [0.5, 1.0, 2.0])
def test_draws_follow_the_softmax(temperature):
  ids, log_probability = _draws(temperature)
  expected = np.asarray(jax.nn.softmax(TABLE[0, 0] / temperature))
  share = np.bincount(ids, minlength=CODES) / len(ids)
  deviation = np.sqrt(expected * (1 - expected) / len(ids))
  assert (np.abs(share - expected) < 4.5 * deviation).all()
  # The confidence does not depend on the temperature of the draw.
  plain = np.asarray(jax.nn.log_softmax(TABLE[0, 0]))
  np.testing.assert_allclose(log_probability, plain[ids], atol=1e-4)


def test_higher_temperature_increases_entropy():
  def entropy(temperature):
    share = np.bincount(_draws(temperature)[0], minlength=CODES) / 4000
    share = share[share > 0]
    return -(share * np.log(share)).sum()

  assert entropy(0.0) == 0
  assert entropy(0.0) < entropy(0.5) < entropy(1.0) < entropy(3.0)
  assert entropy(1e6) == pytest.approx(np.log(CODES), abs=0.01)


def test_temperature_zero_selects_the_largest_logit():
  ids, log_probability = draw_jit(
    _keys(0, 1, 2), TABLE, np.array([0.0, 0.0, 0.0], np.float32)
  )
  np.testing.assert_array_equal(ids, TABLE.argmax(-1))
  np.testing.assert_allclose(
    log_probability, jax.nn.log_softmax(TABLE, -1).max(-1), atol=1e-5
  )


def test_tokens_of_probability_zero_are_never_drawn():
  logits = np.tile(TABLE[:1, :1], (1, 2000, 1))
  logits[..., [0, 3, CODES - 1]] = -np.inf
  ids, _ = draw_jit(_keys(0), logits, np.ones(1, np.float32))
  assert set(np.unique(ids)) == {1, 2, 4, 5}


@pytest.mark.parametrize(
  ('field', 'sentence'),
  [
    ({'steps': 0}, 'steps is 0, but it must be greater than 0'),
    ({'order': 'best'}, "order is 'best'"),
    ({'schedule': 'none'}, "schedule is 'none', but it must be 'cosine'"),
  ],
)
def test_invalid_config_raises(field, sentence):
  with pytest.raises(ValueError, match=sentence):
    DecodeConfig(**field)
