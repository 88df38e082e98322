import logging
import math

import numpy as np
import pytest

from phenaki_jax.evaluation.distribution import (
  Distribution,
  compare_distributions,
)
from phenaki_jax.evaluation.frechet import Moments, frechet_distance


class Means:
  """Features: the mean colours of each frame, or of the clip."""

  def __init__(self, of_clips=False, weights='0f'):
    self.of_clips = of_clips
    self._weights = weights

  def __call__(self, frames):
    means = frames.astype(np.float32).mean((1, 2))
    return means.mean(0, keepdims=True) if self.of_clips else means

  def describe(self):
    return {'network': 'means', 'weights': self._weights}


def _side(features, seed, count=8, dark=1):
  rng = np.random.default_rng(seed)
  clips = rng.integers(0, 256, (count, 5, 4, 4, 3)) // dark
  parts = [
    Distribution.of(features(clip.astype(np.uint8)), seed=(seed, i))
    for i, clip in enumerate(clips)
  ]
  return sum(parts[1:], parts[0]), clips


@pytest.mark.parametrize('of_clips', [False, True])
def test_distances_are_those_of_all_vectors(of_clips):
  features = Means(of_clips)
  one, clips = _side(features, 0, 23)
  other, others = _side(features, 1, 21, dark=2)
  vectors = [
    np.concatenate([features(clip) for clip in side])
    for side in (clips, others)
  ]
  frechet, kernel = compare_distributions(
    one, other, features, protocol={'fps': 8}
  )
  expected = frechet_distance(*map(Moments.of, vectors))
  assert frechet.value == pytest.approx(expected, rel=1e-9)
  names = ('fvd@means', 'kvd@means') if of_clips else ('fid@means', 'kid@means')
  assert (frechet.name, kernel.name) == names
  assert kernel.value > 0 and kernel.error >= 0
  # Every fifth clip is in the same part.
  parts = [
    frechet_distance(
      *(
        Moments.of(np.concatenate([features(clip) for clip in side[number::5]]))
        for side in (clips, others)
      )
    )
    for number in range(5)
  ]
  assert frechet.protocol['distances_of_parts'] == pytest.approx(parts)
  assert frechet.error == pytest.approx(np.std(parts, ddof=1) / 5**0.5)
  assert frechet.protocol['repeats'] == 5


def test_parts_of_too_few_vectors_give_no_error():
  features = Means(of_clips=True)
  sides = [_side(features, seed, count)[0] for seed, count in ((0, 8), (1, 20))]
  frechet, _ = compare_distributions(*sides, features, protocol={})
  assert math.isnan(frechet.error) and frechet.protocol['repeats'] == 1
  assert 'error_is' not in frechet.protocol


def test_numbers_carry_their_protocol_and_few_samples_are_said(caplog):
  features = Means(weights='')
  caplog.set_level(logging.WARNING)
  one, other = _side(features, 0)[0], _side(features, 1, 6)[0]
  found = [
    measure.to_json()
    for measure in compare_distributions(
      one, other, features, protocol={'fps': 8}
    )
  ]
  assert [one['name'] for one in found] == ['fid@random', 'kid@random']
  for measure in found:
    protocol = measure['protocol']
    assert protocol['fps'] == 8 and protocol['network'] == 'means'
    assert protocol['samples'] == {'generated': 8, 'real': 6}
    assert protocol['vectors'] == {'generated': 40, 'real': 30}
  assert found[0]['error'] > 0 and found[1]['protocol']['subset'] == 30
  assert 'fid is of 40 and 30 samples, fewer than the 10000' in caplog.text
