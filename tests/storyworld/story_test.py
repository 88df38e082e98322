import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenaki_jax import storyworld
from phenaki_jax.storyworld import scene as scene_lib
from phenaki_jax.storyworld import story as story_lib


def _story(index, subset='full', scenes=4, frames=7, split='train'):
  rng = np.random.default_rng((5, index))
  return storyworld.sample_story(rng, subset, scenes, frames, split)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 27), st.integers(1, 28))
def test_rendered_frames_equal_slice_of_whole_story(index, start, length):
  story = _story(index)
  stop = min(start + length, story.frames)
  whole = storyworld.render_story(story, 16)
  window = storyworld.render_story(story, 16, start=start, stop=stop)
  np.testing.assert_array_equal(window, whole[start:stop])


@pytest.mark.parametrize('fps', [8, 12.5, 24])
def test_position_continues_across_joins(fps):
  for index in range(40):
    story = _story(index)
    placed = story_lib.placed_scenes(story, fps)
    for scene, after, spec in zip(
      placed, placed[1:], story.scenes, strict=False
    ):
      last = scene_lib.track(scene, spec.frames, spec.frames + 1, fps)
      first = scene_lib.track(after, 0, 1, fps)
      for name in ('x', 'y'):
        jump = getattr(first, name) - getattr(last, name)
        assert abs((jump[0] + 0.5) % 1 - 0.5) < 1e-5


def test_cut_returns_to_the_first_position():
  facts = storyworld.Facts(shape='circle', colour='red', motion='right')
  scene = storyworld.StoryScene(facts=facts, prompt='', frames=5)
  cut = dataclasses.replace(scene, cut=True)
  story = storyworld.Story(scenes=(scene, cut), x=0.25, y=0.5)
  frames = storyworld.render_story(story, 32)
  np.testing.assert_array_equal(frames[5], frames[0])
  assert (frames[5] != frames[4]).any()


@pytest.mark.parametrize('split', ['train', 'heldout'])
@pytest.mark.parametrize('subset', storyworld.SUBSETS)
def test_one_or_two_facts_change_between_scenes(subset, split):
  for index in range(25):
    story = _story(index, subset, split=split)
    for one, two in zip(story.scenes, story.scenes[1:], strict=False):
      assert 'it' in two.prompt.split()
      changed = {
        fact
        for fact, value in one.facts.as_dict().items()
        if value != getattr(two.facts, fact)
      }
      # A growing object ends up big whatever it was.
      if 'size' not in two.facts.visible():
        changed -= {'size'}
      assert 1 <= len(changed) <= 2
      assert storyworld.is_held_out(two.facts) == (split == 'heldout')


def test_frames_outside_the_story_raise():
  story = _story(0)
  with pytest.raises(ValueError, match=r'\[5, 5\) are not'):
    storyworld.render_story(story, 32, start=5, stop=5)
