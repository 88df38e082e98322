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


STILL = jnp.asarray(GENERATOR.normal(size=(3, 4, 5)))
ONE, NONE = jnp.ones(3), jnp.zeros(3)


def test_temporal_guidance_is_the_formula_of_gen_1():
  """p + w_t (u - p) + w (c - u), by hand and at its corners."""
  found = guide(
    *(jnp.full((1, 1), x) for x in (7.0, 5.0)),
    jnp.array([1.0]),
    jnp.full((1, 1), 2.0),
    jnp.array([3.0]),
  )
  # 2 + 3 (5 - 2) + 2 (7 - 5)
  np.testing.assert_allclose(found, [[15.0]])
  plain = guide(CONDITIONAL, EMPTY, SCALE)
  same = guide(CONDITIONAL, EMPTY, SCALE, STILL, ONE)
  np.testing.assert_array_equal(same, plain)
  # w = 1 + scale = 0, and w_t = 0: the model with time off.
  off = guide(CONDITIONAL, EMPTY, -ONE, STILL, NONE)
  np.testing.assert_allclose(off, STILL, atol=1e-6)


def test_guidance_is_linear_in_the_predictions():
  """So that it is the same for logits and for the v of a diffusion."""
  two = (CONDITIONAL, EMPTY, STILL), (STILL, CONDITIONAL, EMPTY)

  def guided(c, u, p):
    return guide(c, u, SCALE, p, SCALE[::-1])

  mixed = guided(*(2 * a - 3 * b for a, b in zip(*two, strict=True)))
  expected = 2 * guided(*two[0]) - 3 * guided(*two[1])
  np.testing.assert_allclose(mixed, expected, atol=1e-4)
