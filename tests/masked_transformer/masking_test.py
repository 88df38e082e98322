"""The number and the positions of hidden tokens; known ones stay known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax import rng
from phenaki_jax.masked_transformer.masking import hide, prefix_mask

hide_jit = jax.jit(hide, static_argnames='schedule')


@functools.cache
def _hidden(schedule, tokens=400, batch=2000):
  maskable = np.ones((batch, tokens), bool)
  return np.asarray(hide_jit(rng.root(3), maskable=maskable, schedule=schedule))


def test_prefix_mask():
  expected = [
    [token // 6 < frames for token in range(18)] for frames in (0, 1, 3)
  ]
  np.testing.assert_array_equal(
    prefix_mask(jnp.array([0, 1, 3]), (3, 2, 3)), expected
  )


def test_only_maskable_tokens_are_hidden_and_at_least_one():
  generator = np.random.default_rng(0)
  maskable = generator.random((300, 20)) < generator.random((300, 1))
  maskable[:3] = False
  maskable[3:6] = np.arange(20) == 7
  hidden = np.asarray(hide_jit(rng.root(0), maskable=maskable))
  assert not (hidden & ~maskable).any()
  np.testing.assert_array_equal(hidden.any(1), maskable.any(1))
  full = hidden.sum(1) == maskable.sum(1)
  assert not full[maskable.sum(1) > 5].all()


@pytest.mark.parametrize('schedule', ['cosine', 'linear'])
def test_counts_are_exact(schedule):
  """The count is the drawn share of the maskable tokens, rounded up."""
  maskable = np.arange(40)[None] < np.arange(1, 41)[:, None]
  hidden = hide_jit(rng.root(5), maskable=maskable, schedule=schedule)
  drawn = np.asarray(jax.random.uniform(jax.random.split(rng.root(5))[0], 40))
  share = np.cos(np.pi / 2 * drawn) if schedule == 'cosine' else 1 - drawn
  expected = np.ceil(np.float32(share) * np.arange(1, 41, dtype=np.float32))
  np.testing.assert_array_equal(np.sum(hidden, 1), np.maximum(expected, 1))


def test_each_example_draws_its_own_share():
  counts = _hidden('linear').sum(1)
  assert len(np.unique(counts)) > 300


@pytest.mark.parametrize(
  ('schedule', 'cumulative'),
  [
    ('linear', lambda share: share),
    # P(cos(u pi/2) <= s) = 1 - arccos(s) 2/pi.
    ('cosine', lambda share: 1 - np.arccos(share) * 2 / np.pi),
  ],
)
def test_shares_are_distributed_as_the_schedule_says(schedule, cumulative):
  counts = _hidden(schedule).sum(1)
  share = np.arange(401) / 400
  actual = (counts[:, None] <= np.arange(401)).mean(0)
  # Kolmogorov-Smirnov; 1.63 / sqrt(n) is passed by one draw in a hundred.
  assert np.abs(cumulative(share) - actual).max() < 1.63 / len(counts) ** 0.5


@pytest.mark.parametrize('batch', [1, 2, 3, 20])
def test_shares_of_held_out_batches_are_evenly_spaced(batch):
  """With one draw for all batches the mean depended on their size."""
  maskable = np.ones((batch, 400), bool)
  hidden = [
    hide_jit(rng.root(part), maskable=maskable, part=(part + 0.5) / 4)
    for part in range(4)
  ]
  share = np.concatenate(hidden).mean(1)
  assert len(np.unique(share)) > 3.5 * batch
  assert share.mean() == pytest.approx(2 / np.pi, abs=0.01)


def test_no_position_is_preferred():
  hidden = _hidden('linear')
  often = hidden.mean(0)
  assert np.abs(often - hidden.mean()).max() < 5 * (0.25 / len(hidden)) ** 0.5


def test_different_keys_give_different_masks():
  maskable = np.ones((2, 30), bool)
  first, again, other = (
    np.asarray(hide_jit(rng.root(seed), maskable=maskable))
    for seed in (0, 0, 1)
  )
  np.testing.assert_array_equal(first, again)
  assert (first != other).any()
