"""The adversarial terms equal their equations; the schedule starts late."""

import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax.errors import UserError
from phenaki_jax.tokenizer.adversarial import (
  AdversaryConfig,
  discriminator_loss,
  lecam_penalty,
  model_loss,
  r1_penalty,
  schedule,
)

REAL = np.array([-1.5, 0.2, 3.0])
FAKE = np.array([0.5, -2.0, 1.0])


def _sigmoid(x):
  return 1 / (1 + np.exp(-x))


def test_non_saturating_losses_equal_log_likelihoods():
  real, fake = jnp.asarray(REAL), jnp.asarray(FAKE)
  model = model_loss(fake, loss='non_saturating')
  np.testing.assert_allclose(model, -np.log(_sigmoid(FAKE)), rtol=1e-5)
  expected = -np.log(_sigmoid(REAL)) - np.log(1 - _sigmoid(FAKE))
  found = discriminator_loss(real, fake, loss='non_saturating')
  np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_hinge_losses():
  real, fake = jnp.asarray(REAL), jnp.asarray(FAKE)
  np.testing.assert_allclose(model_loss(fake, loss='hinge'), -FAKE)
  found = discriminator_loss(real, fake, loss='hinge')
  np.testing.assert_allclose(found, [2.5 + 1.5, 0.8 + 0.0, 0.0 + 2.0])


def test_r1_is_half_the_squared_norm_of_each_gradient():
  slopes = np.random.default_rng(0).normal(size=(3, 2, 4, 3))
  expected = [0.5 * np.linalg.norm(row) ** 2 for row in slopes]
  found = r1_penalty(jnp.asarray(slopes, jnp.float32))
  np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_lecam_bounds_both_scores():
  means = jnp.asarray([1.0, -1.0])
  found = lecam_penalty(jnp.asarray(REAL), jnp.asarray(FAKE), means)
  expected = [0.0 + 0.25, 1.2**2 + 9.0, 16.0 + 0.0]
  np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_term_starts_late_and_rises():
  config = AdversaryConfig(start=10, ramp=4)
  shares = [
    tuple(map(float, schedule(jnp.float32(step), config)))
    for step in (0, 9, 10, 11, 14, 99)
  ]
  assert shares == [(0, 0), (0, 0), (0, 1), (0.25, 1), (1, 1), (1, 1)]
  at_once = schedule(jnp.float32(0), AdversaryConfig())
  assert tuple(map(float, at_once)) == (1, 1)


def test_an_unknown_loss_raises():
  with pytest.raises(UserError, match="loss is 'wgan', but it must be"):
    AdversaryConfig(loss='wgan')
