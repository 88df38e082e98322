"""Rendered stories have perfect scores, and each fault lowers its own."""

import numpy as np
import pytest

from phenaki_jax import storyworld
from phenaki_jax.evaluation.score import score_story
from phenaki_jax.evaluation.storyworld import StoryWorld


def _score(frames, story, world):
  asked = [world._asked(scene.facts, scene.prompt) for scene in story.scenes]
  scenes = [frames[start:stop] for start, stop in story.spans]
  return score_story(scenes, asked, world)


def _right(score):
  return [right for scene in score.scenes for right in scene.right.values()]


@pytest.mark.parametrize('subset, size', [('easy', 32), ('full', 64)])
def test_rendered_stories_have_perfect_scores(subset, size):
  world = StoryWorld(subset=storyworld.subset_named(subset))
  for index in range(4):
    rng = np.random.default_rng((5, index))
    story = storyworld.sample_story(rng, subset, 3, 8)
    score = _score(storyworld.render_story(story, size), story, world)
    assert all(_right(score))
    assert score.persistence in (1, pytest.approx(float('nan'), nan_ok=True))
    assert score.continuity == 1
    for scene in score.scenes:
      assert scene.reading.clean.all()


def test_jump_or_changed_shape_lowers_the_score():
  facts = storyworld.Facts(shape='square', colour='red', motion='right')
  blue = facts.replace(colour='blue')

  def story(*facts):
    scenes = tuple(
      storyworld.StoryScene(facts=f, prompt='', frames=6) for f in facts
    )
    return storyworld.Story(scenes=scenes, x=0.2, y=0.5)

  asked = story(facts, blue)
  frames = storyworld.render_story(asked, 32)
  jumped = frames.copy()
  jumped[6:] = np.roll(frames[6:], 10, axis=1)
  turned = storyworld.render_story(
    story(facts, blue.replace(shape='triangle')), 32
  )
  world = StoryWorld(subset=storyworld.subset_named('easy'))
  good, jump, other = (
    _score(each, asked, world) for each in (frames, jumped, turned)
  )
  assert good.continuity == 1 and good.persistence == 1
  assert jump.continuity == 0 and jump.smoothness == 0
  assert other.continuity == 0 and other.smoothness == 1
  assert other.persistence < 1
  assert other.last_persistence == other.persistence
  assert not all(_right(other))
