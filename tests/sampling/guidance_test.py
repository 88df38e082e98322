"""Guidance on given numbers."""

import jax.numpy as jnp
import numpy as np

from phenaki_jax.sampling.guidance import guide

GENERATOR = np.random.default_rng(0)
CONDITIONAL, EMPTY = (
  jnp.asarray(x) for x in GENERATOR.normal(size=(2, 3, 4, 5))
)
SCALE = jnp.array([0.0, 0.1, 3.0])


def test_scale_extrapolates_from_the_unconditional_prediction():
  conditional, empty = jnp.full((3, 1), 2.0), jnp.full((3, 1), 1.5)
  guided = guide(conditional, empty, SCALE)
  np.testing.assert_allclose(guided, [[2.0], [2.05], [3.5]])


def test_scale_zero_returns_the_conditional_prediction():
  none = guide(CONDITIONAL, EMPTY, jnp.zeros(3))
  np.testing.assert_array_equal(none, CONDITIONAL)
