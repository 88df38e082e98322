"""Measures of generated clips alone, against values that are known."""

import math

import numpy as np
import pytest

from phenaki_jax.evaluation.inception_score import ClassScores
from phenaki_jax.evaluation.own_measures import OwnMeasures


class Space:
  """Features that are given as vectors; texts name one of them."""

  of_clips = False

  def __init__(self, reads=True):
    self.reads = reads

  def __call__(self, frames):
    raise AssertionError('the vectors are given')

  def embed(self, text):
    return np.eye(3)[int(text)] if self.reads else None

  def describe(self):
    return {'network': 'space', 'weights': 'a'}


class Classes:
  """Features that are the probabilities of classes."""

  of_clips = False

  __call__ = Space.__call__

  def probabilities(self, vectors):
    return vectors

  def describe(self):
    return {'network': 'classes', 'weights': ''}


def _sum(features, clips, prompts=None):
  prompts = prompts or [None] * len(clips)
  parts = [
    OwnMeasures.of(features, clip, number=number, prompt=prompt)
    for number, (clip, prompt) in enumerate(zip(clips, prompts, strict=True))
  ]
  return sum(parts[1:], parts[0])


def test_similarity_and_consistency_are_means_over_clips(caplog):
  still = np.tile(np.eye(3)[0], (4, 1))
  turning = np.stack([np.eye(3)[0], np.eye(3)[1]])
  own = _sum(Space(), [still, turning], ['0', '2'])
  found = own.measures(Space(), protocol={'fps': 8})
  assert [one.name for one in found] == [
    'clipsim@space',
    'frame_consistency@space',
  ]
  assert [one.value for one in found] == [0.5, 0.5]
  # Two values that are 1 apart.
  assert found[0].error == pytest.approx(0.5)
  assert found[0].protocol['samples'] == {'generated': 2}
  assert found[0].protocol['fps'] == 8
  assert 'clipsim is of 2 samples, fewer than the 2990' in caplog.text
  alone = _sum(Space(), [still], ['0']).measures(Space(), protocol={})
  assert [one.value for one in alone] == [1, 1]
  assert math.isnan(alone[0].error)


def test_without_texts_or_motion_there_is_nothing_to_say():
  clip = np.eye(3)
  found = _sum(Space(reads=False), [clip], ['0'])
  assert found.prompts is None and found.frames is not None
  assert _sum(Space(), [clip[:1]]).measures(Space(), protocol={}) == ()


def test_the_inception_score_is_that_of_the_definition():
  rng = np.random.default_rng(0)
  clips = rng.dirichlet(np.full(5, 0.3), (24, 2))
  (found,) = _sum(Classes(), clips).measures(Classes(), protocol={})
  scores = []
  for part in range(10):
    values = clips[part::10].reshape(-1, 5)
    shares = values.mean(0)
    divergence = (values * np.log(values / shares)).sum(1)
    scores.append(np.exp(divergence.mean()))
  assert found.name == 'is@random'
  assert found.value == pytest.approx(np.mean(scores))
  assert found.error == pytest.approx(np.std(scores))
  assert found.protocol['vectors'] == {'generated': 48}
  assert found.protocol['repeats'] == 10


def test_sure_and_varied_classes_score_best():
  sure = [ClassScores.of(np.eye(4), number=0).score()]
  alike = [ClassScores.of(np.eye(4)[[1] * 4], number=3).score()]
  unsure = [ClassScores.of(np.full((4, 4), 0.25), number=0).score()]
  assert sure[0] == pytest.approx((4, 0))
  assert alike[0] == unsure[0] == pytest.approx((1, 0))
