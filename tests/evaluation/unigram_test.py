import math

import numpy as np
import pytest

from phenaki_jax.evaluation.unigram import UnigramEvaluator, unigram_loss


def test_loss_is_the_cross_entropy():
  seen, hidden = np.array([2, 0, 5]), np.array([1, 3, 0])
  # Shares of 3, 1 and 6 tenths.
  expected = (math.log(10 / 3) + 3 * math.log(10)) / 4
  assert unigram_loss(seen, hidden) == pytest.approx(expected)


def test_without_training_tokens_the_loss_is_that_of_uniform_frequencies():
  hidden = np.array([0, 7, 1, 0])
  assert unigram_loss(np.zeros(4), hidden) == pytest.approx(math.log(4))


def test_frequencies_of_the_hidden_tokens_have_the_lowest_loss():
  hidden = np.array([50_000, 10_000, 40_000])
  best = unigram_loss(hidden, hidden)
  for other in ([1, 1, 1], [5, 2, 3], [50_000, 20_000, 30_000]):
    assert unigram_loss(np.array(other), hidden) > best


def test_no_hidden_tokens_raises():
  with pytest.raises(ValueError, match='no hidden tokens'):
    unigram_loss(np.ones(3), np.zeros(3))


def test_training_batches_are_read_once():
  read = []

  def training():
    read.append('training')
    return [[0, 0], [1]]

  def count(state, batch):
    assert state == 'state'
    seen = np.bincount(batch, minlength=3)
    return seen, seen * np.array([1, 1, 10])

  evaluator = UnigramEvaluator(
    count=count, training=training, heldout=[[2], [0]], every=5
  )
  # Shares of 3, 2 and 1 sixths; the hidden are one 0 and ten 2s.
  expected = (math.log(2) + 10 * math.log(6)) / 11
  for step in (1, 2):
    assert dict(evaluator.run(step, 'state')) == {
      'heldout/unigram_loss': pytest.approx(expected)
    }
  assert read == ['training'] and evaluator.every == 5
