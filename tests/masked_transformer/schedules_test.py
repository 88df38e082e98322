"""Every schedule falls from 1 to 0."""

import typing

import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax.masked_transformer.schedules import (
  SCHEDULES,
  Schedule,
  hidden_share,
)


@pytest.mark.parametrize('name', SCHEDULES)
def test_a_schedule_falls_from_one_to_zero(name):
  # Far enough apart for float32: the first steps of 'quartic' are small.
  share = np.asarray(hidden_share(name, jnp.linspace(0.0, 1.0, 51)))
  assert share[0] == 1
  assert share[-1] == pytest.approx(0, abs=1e-6)
  assert (np.diff(share) < 0).all()
  assert share.min() >= 0


def test_schedules_differ():
  values = {
    name: round(float(hidden_share(name, jnp.asarray(0.5))), 4)
    for name in SCHEDULES
  }
  assert values == {
    'cosine': 0.7071,
    'linear': 0.5,
    'square': 0.75,
    'cubic': 0.875,
    'quartic': 0.9375,
    'sqrt': 0.2929,
  }


def test_configs_allow_every_schedule():
  assert typing.get_args(Schedule) == tuple(SCHEDULES)
