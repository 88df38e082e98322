"""An object leaves for three scenes, and its last prompt names one fact."""

import numpy as np

from phenaki_jax import storyworld
from phenaki_jax.storyworld.returns import AWAY


def test_an_object_that_is_back_is_the_one_that_left():
  named_by = set()
  for seed in range(40):
    rng = np.random.default_rng(seed)
    story = storyworld.sample_return(rng, 'medium', 4)
    first, *away, last = story.scenes
    assert len(away) == AWAY == 3
    for fact in ('shape', 'colour', 'size', 'style'):
      assert getattr(first.facts, fact) == getattr(last.facts, fact)
    for scene in away:
      assert scene.facts.shape == away[0].facts.shape != first.facts.shape
      assert scene.facts.colour == away[0].facts.colour != first.facts.colour
    assert not any(
      storyworld.is_held_out(scene.facts) for scene in story.scenes
    )
    named = storyworld.parse(last.prompt)
    assert named.items() <= last.facts.as_dict().items()
    assert set(named) == {'motion', 'place'} | (
      set(named) & {'shape', 'colour'}
    )
    (one,) = set(named) & {'shape', 'colour'}
    named_by.add(one)
  assert named_by == {'shape', 'colour'}


def test_a_continuation_comes_with_the_scenes_before():
  kinds = set()
  for index in range(40):
    clip = storyworld.training_clip(
      0,
      index,
      'easy',
      frames=9,
      size=16,
      continuation_share=1.0,
      history=3,
    )
    assert clip.frames.shape == (9, 16, 16, 3)
    assert 1 <= len(clip.history) <= 3 and clip.context_frames == 5
    kinds.add('is back' in clip.caption)
    if 'is back' in clip.caption:
      # The scene that introduces the object is among those that are shown.
      texts = [storyworld.parse(scene.caption) for scene in clip.history]
      shape, colour = clip.facts.shape, clip.facts.colour
      assert any(
        text.get('shape') == shape and text.get('colour') == colour
        for text in texts
      )
  assert kinds == {True, False}


def test_every_seed_has_a_story_of_held_out_combinations():
  """Objects whose other combinations are all trained on are left out."""
  for seed in range(20):
    rng = np.random.default_rng(seed)
    story = storyworld.sample_return(rng, 'easy', 4, 'heldout')
    assert all(storyworld.is_held_out(scene.facts) for scene in story.scenes)
