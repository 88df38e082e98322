"""The reduction is part of the distance, which orders how wrong frames are."""

import dataclasses
import logging

import numpy as np
import pytest

from phenaki_jax.evaluation.frechet import Moments, frechet_distance
from phenaki_jax.evaluation.story_fid import (
  ReducedFeatures,
  StoryFrames,
  reduce_frame,
)

RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(0, 1 / 3000, (64 * 64 * 3, 6))


@dataclasses.dataclass(frozen=True)
class Linear:
  """Features that are linear in the pixels; it notes the shapes it sees."""

  shapes: list = dataclasses.field(default_factory=list)
  of_clips: bool = False

  def __call__(self, frames):
    self.shapes.append(frames.shape)
    return frames.reshape(len(frames), -1) @ WEIGHTS

  def describe(self):
    return {'network': 'linear', 'weights': 'abc'}


def stories(seed, noise=0.0, side=96):
  """Draw stories of a square of a random place and colour."""
  rng = np.random.default_rng(seed)
  found = []
  for _ in range(12):
    frames = np.full((4, side, side, 3), 90.0)
    for frame in frames:
      top, left = rng.integers(0, side // 2, 2)
      frame[top : top + 40, left : left + 40] = rng.integers(0, 256, 3)
    frames += noise * rng.normal(0, 60, frames.shape)
    found.append(frames.clip(0, 255).astype(np.uint8))
  return found


def distance(one, other, features=None, **protocol):
  gathered = StoryFrames(features or Linear())
  for generated, real in zip(one, other, strict=True):
    gathered.add(generated=generated, real=real)
  return gathered.measure(protocol={'set': 'squares', **protocol})


def test_every_frame_is_reduced_first_and_the_name_says_so(caplog):
  features, real = Linear(), stories(0)
  with caplog.at_level(logging.WARNING):
    found = distance(stories(1), real, features, split='test')
  assert set(features.shapes) == {(4, 64, 64, 3)}
  assert found.name == 'story_fid_64px@linear'
  expected = {'set': 'squares', 'split': 'test', 'reduced_to': 64}
  assert expected.items() <= found.protocol.items()
  assert found.protocol['vectors'] == {'generated': 48, 'real': 48}
  assert 'fid is of 48 and 48 samples' in caplog.text
  # One distance over all frames, by the code of all other distances.
  both = [
    np.concatenate([[reduce_frame(f) for f in frames] for frames in side])
    for side in (stories(1), real)
  ]
  moments = [Moments.of(Linear()(frames)) for frames in both]
  assert found.value == pytest.approx(frechet_distance(*moments), rel=1e-6)


def test_real_noisy_and_random_frames_are_in_this_order():
  real = stories(0)
  random = [
    RNG.integers(0, 256, frames.shape).astype(np.uint8) for frames in real
  ]
  same = distance(real, real).value
  others = [
    distance(frames, real).value for frames in (stories(1), stories(1, 1.0))
  ]
  values = [same, *others, distance(random, real).value]
  assert values[0] == pytest.approx(0, abs=1e-6)
  assert values == sorted(values)
  assert values[-1] > 2 * values[1]


def test_the_centre_of_other_shapes_is_reduced():
  frame = np.zeros((64, 128, 3), np.uint8)
  frame[:, 32:96] = RNG.integers(0, 256, (64, 64, 3))
  np.testing.assert_array_equal(reduce_frame(frame), frame[:, 32:96])
  tall = frame.transpose(1, 0, 2)
  np.testing.assert_array_equal(reduce_frame(tall), tall[32:96])
  # A larger frame is averaged, not sampled.
  stripes = np.zeros((256, 256, 3), np.uint8)
  stripes[::2] = 200
  assert np.abs(reduce_frame(stripes).astype(int) - 100).max() < 10


def test_features_of_clips_are_refused():
  with pytest.raises(ValueError, match='compares single frames'):
    ReducedFeatures(features=Linear(of_clips=True))
