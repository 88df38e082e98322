"""Averages are exact for any split of the sums."""

import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax.training import metrics
from phenaki_jax.training.metrics import Mean


def test_a_mean_is_a_sum_and_a_count():
  mean = Mean.of(jnp.array([1.0, 2.0, 6.0]))
  assert (float(mean.sum), float(mean.count)) == (9.0, 3.0)
  weighted = Mean.of(jnp.array([1.0, 2.0, 6.0]), jnp.array([1.0, 0.0, 2.0]))
  assert (float(weighted.sum), float(weighted.count)) == (13.0, 3.0)


def test_merged_parts_equal_the_whole():
  values = jnp.arange(10.0)
  parts = [{'loss': Mean.of(values[a:b])} for a, b in ((0, 1), (1, 4), (4, 10))]
  merged = metrics.finalise(metrics.merge(*parts))
  assert merged == {'loss': pytest.approx(4.5)}


def test_a_name_may_be_missing_from_some_parts():
  merged = metrics.merge(
    {'a': Mean(sum=1.0, count=1.0)}, {'b': Mean(sum=6.0, count=2.0)}
  )
  assert metrics.finalise(merged) == {'a': 1.0, 'b': 3.0}


def test_metric_with_count_zero_is_left_out():
  nothing = Mean.of(jnp.ones((3,)), jnp.zeros((3,)))
  assert metrics.finalise({'images': nothing}) == {}


def test_fetched_sums_are_host_numbers():
  mean = metrics.fetched({'loss': Mean.of(jnp.float32(0.1))})['loss']
  assert isinstance(mean.sum, float)
  assert mean.sum == float(np.float32(0.1))
