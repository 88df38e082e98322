import pytest

from phenaki_jax.evaluation.heldout import HeldoutEvaluator


def _measure(state, batch):
  return {
    'loss': (state * sum(batch), len(batch)),
    'never': (0.0, 0.0),
  }


def test_mean_is_weighted_by_the_weight_of_each_batch():
  evaluator = HeldoutEvaluator(
    measure=_measure, batches=[[1.0, 2.0, 3.0], [10.0]], every=5
  )
  assert dict(evaluator.run(1, 2.0)) == {'heldout/loss': 8.0}
  assert dict(evaluator.run(2, 1.0)) == {'heldout/loss': 4.0}
  assert evaluator.every == 5


def test_no_batches_raises():
  with pytest.raises(ValueError, match='no held-out batches'):
    HeldoutEvaluator(measure=_measure, batches=[], every=1)
