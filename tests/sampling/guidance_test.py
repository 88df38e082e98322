"""Guidance on given numbers."""

import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax.sampling.guidance import SCHEDULES, guide

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


@pytest.mark.parametrize('name', ['linear', 'cosine'])
def test_schedules_grow_from_none_to_the_whole_scale(name):
  share = np.asarray(SCHEDULES[name](jnp.linspace(0, 1, 21)))
  np.testing.assert_allclose(share[[0, 10, 20]], [0, 0.5, 1], atol=1e-6)
  assert (np.diff(share) > 0).all()
  assert (SCHEDULES['constant'](share) == 1).all()
