"""The matrix shows which change does harm, and to which fact."""

import dataclasses

import pytest

from phenaki_jax.evaluation.changes import report_changes
from phenaki_jax.evaluation.clips import Setup
from phenaki_jax.evaluation.storyworld import StoryWorld
from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.storyworld import subset_named

SETUP = Setup(
  world=StoryWorld(subset=subset_named('easy')),
  size=(32, 32),
  fps=8.0,
  settings=SamplingSettings(),
  batch_size=2,
)
COUNTS = {'changes': 1, 'frames_per_scene': 8, 'context_frames': 5}


@pytest.fixture(scope='module')
def perfect(oracle_model):
  done = []
  report = report_changes(oracle_model(), SETUP, **COUNTS, on_done=done.append)
  assert done == [2, 2]
  return report


def test_perfect_model_has_a_perfect_matrix(perfect):
  assert perfect.facts == ('shape', 'colour', 'motion', 'place', 'style')
  assert tuple(perfect.rows) == ('shape', 'colour', 'motion', 'place')
  for fact, row in perfect.rows.items():
    assert set(row.kept) == set(perfect.facts) - {fact}
    assert row.changed.asked == row.all_kept.asked == 1
    assert row.changed.right == row.all_kept.right == 1
    assert row.clean.right == row.clean.asked == 8
    ((prompts, scenes),) = row.samples
    assert prompts[1].startswith(('it ', 'now '))
    assert [len(frames) for frames in scenes] == [9, 8]


def test_harm_of_one_kind_of_change_is_in_one_cell(perfect, oracle_model):
  maker = oracle_model(forgets={'colour': 'white'}, when='place')
  setup = dataclasses.replace(SETUP, batch_size=4)
  report = report_changes(maker, setup, **COUNTS)
  row = report.rows['place']
  assert row.kept['colour'].right == row.all_kept.right == 0
  assert row.changed.right == row.kept['shape'].right == 1
  # The other rows do not depend on it, nor on the size of batches.
  for fact in ('shape', 'motion'):
    assert report.rows[fact].kept == perfect.rows[fact].kept
    assert report.rows[fact].samples[0][0] == perfect.rows[fact].samples[0][0]


def test_a_second_object_is_not_clean(oracle_model):
  short = {**COUNTS, 'frames_per_scene': 4}
  report = report_changes(oracle_model(ghost=True), SETUP, **short)
  counts = [row.clean for row in report.rows.values()]
  assert sum(c.asked for c in counts) == 4 * 4
  assert sum(c.right for c in counts) <= 4
