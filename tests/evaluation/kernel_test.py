"""The kernel distance equals its definition, whole or in parts."""

import numpy as np
import pytest

from phenaki_jax.evaluation import kernel
from phenaki_jax.evaluation.kernel import (
  RandomSample,
  kernel_distance,
  squared_mmd,
)


def _draw(seed, count, width=4, shift=0.0):
  return np.random.default_rng(seed).normal(size=(count, width)) + shift


def _direct(x, y):
  """Sum the kernel over pairs, one by one."""

  def k(a, b):
    return (a @ b / len(a) + 1) ** 3

  one = [k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j]
  two = [k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j]
  both = [k(a, b) for a in x for b in y]
  return np.mean(one) + np.mean(two) - 2 * np.mean(both)


def test_distance_equals_its_definition():
  x, y = _draw(0, 7), _draw(1, 9, shift=0.5)
  assert squared_mmd(x, y) == pytest.approx(_direct(x, y), rel=1e-10)
  assert squared_mmd(y, x) == pytest.approx(_direct(x, y), rel=1e-10)


def test_distance_is_unbiased():
  values = [
    squared_mmd(_draw(2 * i, 6), _draw(2 * i + 1, 6)) for i in range(400)
  ]
  error = np.std(values) / 20
  assert abs(np.mean(values)) < 3 * error
  assert np.min(values) < 0


@pytest.mark.parametrize('cuts', [[1], [10, 11], [5, 20, 21]])
def test_samples_of_parts_merge_into_one_of_all_in_any_order(cuts):
  vectors = _draw(3, 30)
  parts = [
    RandomSample.of(part, seed=(0, i), most=8)
    for i, part in enumerate(np.split(vectors, cuts))
  ]
  forward, backward = parts[0], parts[-1]
  for part in parts[1:]:
    forward = forward + part
  for part in parts[-2::-1]:
    backward = backward + part
  assert forward.count == 30 and len(forward.vectors) == 8
  np.testing.assert_array_equal(forward.vectors, backward.vectors)
  rows = {tuple(row) for row in vectors}
  assert all(tuple(row) in rows for row in forward.vectors)


def test_every_vector_is_kept_as_often():
  found = np.zeros(12)
  for seed in range(600):
    sample = RandomSample.of(np.arange(12.0)[:, None], seed=(seed,), most=3)
    found[sample.vectors[:, 0].astype(int)] += 1
  assert found.sum() == 1800
  assert np.abs(found / 600 - 0.25).max() < 4 * np.sqrt(0.25 * 0.75 / 600)


def test_subsets_give_mean_and_deviation(monkeypatch):
  monkeypatch.setattr(kernel, 'SUBSET_VECTORS', 20)
  one, near, far = (
    RandomSample.of(_draw(i, 60, shift=shift), seed=(i,))
    for i, shift in enumerate((0.0, 0.0, 1.0))
  )
  mean, deviation = kernel_distance(one, near)
  assert abs(mean) < 2 * deviation
  mean, deviation = kernel_distance(one, far)
  assert mean > 2 * deviation
  assert kernel_distance(one, far) == (mean, deviation)
