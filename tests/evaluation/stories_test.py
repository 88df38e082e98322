import dataclasses

from phenaki_jax.evaluation import stories as stories_lib
from phenaki_jax.evaluation.clips import Setup
from phenaki_jax.evaluation.storyworld import StoryWorld
from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.storyworld import (
  subset_named,
)

SUBSET = subset_named('easy')
SETUP = Setup(
  world=StoryWorld(subset=SUBSET),
  size=(32, 32),
  fps=8.0,
  settings=SamplingSettings(),
  batch_size=2,
)
COUNTS = {'stories': 3, 'scenes': 4, 'frames_per_scene': 8, 'context_frames': 5}


def test_perfect_model_has_perfect_scores(oracle_model):
  done = []
  report = stories_lib.report_stories(
    oracle_model(), SETUP, **COUNTS, on_done=done.append
  )
  assert done == [2, 1]
  assert report.facts.total.accuracy > 0.95
  assert report.consistency['persistence'] > 0.95
  assert report.consistency['last_persistence'] > 0.95
  assert report.consistency['continuity'] > 0.9
  assert len(report.scenes) == 4
  assert report.scenes[0].asked == report.facts.total.asked / 4
  assert report.last.total == report.scenes[-1]
  prompts, scenes = report.stories[0]
  assert [len(frames) for frames in scenes] == [8] * 4
  assert len(prompts) == 4 and 'it' in prompts[1].split()


def test_forgetting_lowers_persistence_but_not_the_first_scene(oracle_model):
  report = stories_lib.report_stories(
    oracle_model(forgets={'shape': 'square', 'place': 'sand'}), SETUP, **COUNTS
  )
  assert report.scenes[0].accuracy > 0.95
  assert report.consistency['persistence'] < 0.85
  assert report.facts['shape'].accuracy < report.facts['colour'].accuracy


def test_jumps_lower_smoothness_and_continuity_alone(oracle_model):
  report = stories_lib.report_stories(oracle_model(jumps=True), SETUP, **COUNTS)
  assert report.consistency['continuity'] < 0.3
  assert report.consistency['smoothness'] < 0.3
  assert report.facts['colour'].accuracy > 0.9


def test_held_out_combinations_are_counted_separately(oracle_model):
  class Squares(StoryWorld):
    """Holds out all shapes but the square."""

    def _asked(self, facts, prompt):
      asked = super()._asked(facts, prompt)
      return dataclasses.replace(asked, held_out=facts.shape != 'square')

  setup = dataclasses.replace(SETUP, world=Squares(subset=SUBSET))
  report = stories_lib.report_stories(
    oracle_model(forgets={'shape': 'square'}), setup, **COUNTS
  )
  train, heldout = report.splits['train'], report.splits['heldout']
  assert train.asked + heldout.asked == report.facts.total.asked
  assert heldout.accuracy < train.accuracy
