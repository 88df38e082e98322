import pytest

from phenaki_jax.evaluation.prompts import PromptOracle
from phenaki_jax.evaluation.storyworld import StoryWorld
from phenaki_jax.storyworld import Facts, Scene, render_clip, subset_named

WORLD = StoryWorld(subset=subset_named('easy'))
ORACLE = PromptOracle(world=WORLD)


def test_facts_of_a_take_change_with_its_prompts():
  prompts = ['a red circle moving right on grass', 'it turns blue']
  facts = WORLD.expected(prompts)
  assert facts['colour'] == 'blue' and facts['shape'] == 'circle'
  assert facts['place'] == 'grass' and facts['motion'] == 'right'
  again = WORLD.expected([*prompts, 'a white square moving left'])
  assert again['shape'] == 'square' and 'place' not in again


def test_frames_that_show_the_facts_score_best():
  prompts = ['a red circle moving right on grass']
  scores = []
  for colour, motion in (('red', 'right'), ('blue', 'right'), ('blue', 'left')):
    facts = Facts(shape='circle', colour=colour, motion=motion)
    scene = Scene(facts=facts)
    scores.append(ORACLE(prompts, render_clip(scene, frames=9, size=64)).score)
  assert scores == sorted(scores, reverse=True)
  count = len(WORLD.expected(prompts))
  assert scores[0] - scores[1] == pytest.approx(1 / count, abs=2e-3)
  assert 1 <= scores[0] <= 1.001
  assert not ORACLE(['what a day'], render_clip(scene, frames=9, size=64)).right
