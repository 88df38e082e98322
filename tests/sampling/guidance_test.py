"""Guidance on given numbers, and compared with two forward passes."""

import jax.numpy as jnp
import numpy as np

from phenaki_jax.sampling.guidance import guide, guided

GENERATOR = np.random.default_rng(0)
CONDITIONAL, EMPTY = (
  jnp.asarray(x) for x in GENERATOR.normal(size=(2, 3, 4, 5))
)
SCALE = jnp.array([0.0, 0.1, 3.0])


def test_scale_extrapolates_from_the_unconditional_prediction():
  conditional, empty = jnp.full((3, 1), 2.0), jnp.full((3, 1), 1.5)
  guided_values = guide(conditional, empty, SCALE)
  np.testing.assert_allclose(guided_values, [[2.0], [2.05], [3.5]])


def test_scale_zero_returns_the_conditional_prediction():
  none = guide(CONDITIONAL, EMPTY, jnp.zeros(3))
  np.testing.assert_array_equal(none, CONDITIONAL)


def test_guided_equals_two_forward_passes():
  calls = []

  def predict(ids, text, mask):
    calls.append(ids.shape)
    return jnp.tanh(ids[..., None] * text) * mask[:, None]

  ids = jnp.asarray(GENERATOR.normal(size=(3, 4)))
  conditional = (CONDITIONAL, jnp.ones((3, 5)))
  empty = (EMPTY, jnp.asarray(GENERATOR.normal(size=(3, 5))))
  got = guided(predict, ids, conditional, empty, SCALE)
  assert calls == [(6, 4)]
  np.testing.assert_allclose(
    got,
    guide(predict(ids, *conditional), predict(ids, *empty), SCALE),
    atol=1e-6,
  )
