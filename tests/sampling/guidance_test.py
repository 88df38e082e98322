"""Guidance compared with its formula and with two forward passes."""

import jax.numpy as jnp
import numpy as np

from phenaki_jax.sampling.guidance import guide, guided

GENERATOR = np.random.default_rng(0)
CONDITIONAL, EMPTY = (
  jnp.asarray(x) for x in GENERATOR.normal(size=(2, 3, 4, 5))
)
SCALE = jnp.array([0.0, 0.1, 3.0])


def test_guide_equals_its_formula():
  for scale, got, c, u in zip(
    SCALE, guide(CONDITIONAL, EMPTY, SCALE), CONDITIONAL, EMPTY, strict=True
  ):
    np.testing.assert_allclose(got, c + scale * (c - u), atol=1e-5)


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
