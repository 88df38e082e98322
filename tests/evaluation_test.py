"""The contract of evaluators with the training loop and the writers."""

import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax.evaluation.heldout import HeldoutEvaluator
from phenaki_jax.evaluation.reconstruction import ReconstructionEvaluator
from phenaki_jax.evaluation.samples import SampleEvaluator
from phenaki_jax.evaluation.unigram import UnigramEvaluator
from phenaki_jax.training.loop import Evaluator
from phenaki_jax.training.writers import rank

CLIPS = {
  'pixels': np.zeros((2, 3, 16, 16, 3), np.uint8),
  'num_frames': np.array([3, 1], np.int32),
}
# By evaluator, and the ranks of its results: a number, an image or a video.
EVALUATORS = {
  'heldout': (
    lambda every: HeldoutEvaluator(
      measure=lambda state, batch: {'loss': (1.0, 2.0)},
      batches=[0],
      every=every,
    ),
    {0},
  ),
  'reconstruction': (
    lambda every: ReconstructionEvaluator(
      predict=lambda state, pixels, num_frames: jnp.asarray(pixels),
      clips=[CLIPS],
      every=every,
    ),
    {0, 4},
  ),
  'samples': (
    lambda every: SampleEvaluator(
      sample=lambda state, prompts, seeds: CLIPS['pixels'],
      prompts=['a', 'b'],
      every=every,
    ),
    {3, 4},
  ),
  'unigram': (
    lambda every: UnigramEvaluator(
      count=lambda state, batch: (np.ones(3), np.ones(3)),
      training=lambda: [0],
      heldout=[0],
      every=every,
    ),
    {0},
  ),
}


@pytest.mark.parametrize('name', EVALUATORS)
def test_evaluator_keeps_its_interval_and_yields_what_writers_take(name):
  make, ranks = EVALUATORS[name]
  assert [make(every).every for every in (0, 5)] == [0, 5]
  evaluator = make(5)
  assert isinstance(evaluator, Evaluator)
  first, second = (list(evaluator.run(step, None)) for step in (5, 10))
  names = [key for key, _ in first]
  assert len(set(names)) == len(names)
  assert names == [key for key, _ in second]
  assert {rank(value) for _, value in first} == ranks
