"""The masked mean, and what counts as an evaluator."""

import jax.numpy as jnp
import numpy as np

from phenaki_jax.evaluation.base import Evaluator, masked_mean
from phenaki_jax.evaluation.reconstruction import ReconstructionEvaluator


def test_masked_values_do_not_matter_even_when_not_finite():
  values = jnp.array([[1.0, 2.0], [jnp.nan, 6.0]])
  mask = jnp.array([[True, True], [False, True]])
  assert masked_mean(values, mask) == 3.0


def test_a_mean_of_nothing_is_not_a_number():
  assert np.isnan(masked_mean(jnp.ones(3), jnp.zeros(3, bool)))


def test_reconstruction_is_an_evaluator():
  evaluator = ReconstructionEvaluator(lambda s, x, n: x, [], every=5)
  assert isinstance(evaluator, Evaluator)
