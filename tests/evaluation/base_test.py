"""What counts as an evaluator."""

from phenaki_jax.evaluation.base import Evaluator
from phenaki_jax.evaluation.heldout import HeldoutEvaluator
from phenaki_jax.evaluation.reconstruction import ReconstructionEvaluator


def test_evaluators_are_evaluators():
  assert isinstance(
    ReconstructionEvaluator(lambda s, x, n: x, [], every=5), Evaluator
  )
  assert isinstance(HeldoutEvaluator(lambda s, b: {}, [0], every=5), Evaluator)
  assert not isinstance(object(), Evaluator)
