"""Streamed moments and distances equal direct computations."""

import logging

import numpy as np
import pytest
import scipy.linalg

from phenaki_jax.evaluation.frechet import (
  ClipMoments,
  Moments,
  frechet_distance,
  report_frechet,
)

NETWORK = {'network': 'means'}


def _draw(seed, count, width, scale=1.0):
  rng = np.random.default_rng(seed)
  return (rng.normal(size=(count, width)) @ rng.normal(size=(width, width))) * (
    scale
  ) + rng.normal(size=width)


def _direct(a, b):
  """Return the distance by the root of the product, as it is defined."""
  one, other = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
  root = scipy.linalg.sqrtm(one @ other).real
  apart = a.mean(0) - b.mean(0)
  return apart @ apart + np.trace(one + other - 2 * root)


def _features(frames):
  """Return the mean colour of each half of the frames."""
  halves = np.split(frames.astype(np.float32), 2, axis=1)
  return np.concatenate([half.mean((1, 2)) for half in halves], -1)


def _clips(seed, count, frames=5):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (count, frames, 4, 4, 3), np.uint8)


@pytest.mark.parametrize('cuts', [[1, 2, 30], [17], list(range(1, 40))])
def test_moments_of_parts_are_those_of_the_whole(cuts):
  vectors = _draw(0, 40, 6) + 1e4  # where sums of squares would lose digits
  first, *others = (Moments.of(part) for part in np.split(vectors, cuts))
  found = sum(others, first)
  assert found.count == 40
  np.testing.assert_allclose(found.mean, vectors.mean(0), rtol=1e-13)
  np.testing.assert_allclose(
    found.covariance, np.cov(vectors, rowvar=False), rtol=1e-9, atol=1e-9
  )


def test_moments_of_float32_are_summed_in_float64():
  vectors = (_draw(1, 500, 3) + 1e3).astype(np.float32)
  found = Moments.of(vectors[:1])
  for row in vectors[1:]:
    found += Moments.of(row[None])
  expected = np.cov(vectors.astype(np.float64), rowvar=False)
  np.testing.assert_allclose(found.covariance, expected, rtol=1e-10)


def test_distance_equals_its_definition():
  a, b = _draw(2, 50, 6), _draw(3, 60, 6, scale=2.0)
  found = frechet_distance(Moments.of(a), Moments.of(b))
  assert found == pytest.approx(_direct(a, b), rel=1e-8)
  back = frechet_distance(Moments.of(b), Moments.of(a))
  assert back == pytest.approx(found, rel=1e-8)


def test_distance_of_gaussians_on_one_axis_is_known():
  a, b = _draw(4, 200, 1), 3.0 * _draw(4, 200, 1) + 5.0
  one, other = a.std(ddof=1), b.std(ddof=1)
  expected = (a.mean() - b.mean()) ** 2 + (one - other) ** 2
  found = frechet_distance(Moments.of(a), Moments.of(b))
  assert found == pytest.approx(expected, rel=1e-10)


def test_distance_is_defined_for_fewer_vectors_than_features():
  a, b = Moments.of(_draw(5, 4, 12)), Moments.of(_draw(6, 5, 12))
  scale = np.trace(a.covariance)
  assert abs(frechet_distance(a, a)) < 1e-6 * scale
  assert frechet_distance(a, b) > 1e-2 * scale


def test_motion_compares_consecutive_frames_of_the_whole_length():
  clip = _clips(7, 1)[0]
  moments = ClipMoments(_features)
  moments.add(clip, length=3)
  np.testing.assert_allclose(
    moments.moments['motion'].mean,
    np.diff(_features(clip)[:3], axis=0).mean(0),
  )
  counts = {name: found.count for name, found in moments.moments.items()}
  assert counts == {'frames': 3, 'motion': 2}
  still = ClipMoments(_features)
  still.add(clip, length=1)
  assert set(still.moments) == {'frames'} and still.clips == 1


def _report(made, real):
  moments = ClipMoments(_features)
  for clip in made:
    moments.add(clip)
  lengths = np.full(len(real), real.shape[1], np.int32)
  half = len(real) // 2
  batches = [
    {'pixels': real[part], 'num_frames': lengths[part]}
    for part in (slice(half), slice(half, None))
  ]
  return report_frechet(moments, batches, features=_features, network=NETWORK)


def test_a_report_tells_equal_clips_from_still_and_dark_ones():
  clips = _clips(8, 6)
  same = _report(clips, clips)
  assert same.clips == (6, 6)
  assert same.vectors == {'frames': (30, 30), 'motion': (24, 24)}
  assert max(map(abs, same.distances.values())) < 1e-6
  dark = _report(clips // 2, clips)
  still = _report(np.repeat(clips[:, :1], 5, axis=1), clips)
  assert dark.distances['frames'] > 5 * still.distances['frames']
  assert still.distances['motion'] > dark.distances['motion'] > 1


def test_too_few_clips_are_said_to_be_too_few(caplog):
  with caplog.at_level(logging.WARNING):
    _report(_clips(9, 6), _clips(10, 6))
  assert not caplog.text
  with caplog.at_level(logging.WARNING):
    _report(_clips(9, 1), _clips(10, 6))
  assert 'of 4 vectors of 6 features' in caplog.text
