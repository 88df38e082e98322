"""Prompts ask for what they say, and readings find the object."""

import numpy as np
import pytest

from phenaki_jax import storyworld
from phenaki_jax.evaluation.storyworld import StoryWorld
from phenaki_jax.storyworld.scene import RADIUS


@pytest.mark.parametrize('subset', storyworld.SUBSETS)
def test_a_change_names_one_fact_and_leaves_all_others(subset):
  world = StoryWorld(subset=storyworld.subset_named(subset))
  assert world.changes[:2] == ('shape', 'colour')
  assert ('style' in world.changes) == (subset == 'full')
  for fact in world.changes:
    for seed in range(20):
      rng = np.random.default_rng(seed)
      before, after = world.draw_change(rng, fact)
      both = before.facts.keys() & after.facts.keys()
      assert fact in both
      assert {f for f in both if before.facts[f] != after.facts[f]} == {fact}
      assert storyworld.parse(after.prompt) == {fact: after.facts[fact]}
      shown = storyworld.parse(before.prompt)
      assert all(shown[f] == v for f, v in before.facts.items() if f in shown)


def test_box_surrounds_the_object_also_across_the_edge():
  world = StoryWorld(subset=storyworld.subset_named('easy'))
  for x, y in ((0.5, 0.5), (0.02, 0.97)):
    facts = storyworld.Facts(shape='square', colour='red', place='night')
    scene = storyworld.Scene(facts=facts, x=x, y=y)
    frames = storyworld.render_clip(scene, 3, 64)
    found = world.read(frames)
    red = (frames[..., 0] > 150) & (frames[..., 1] < 120)
    assert red.any()
    # A square is as large as its radius says, up to its corners.
    assert (red & found.box).sum() > 0.85 * red.sum()
    assert found.box[0].mean() == pytest.approx((2 * RADIUS['big']) ** 2, 0.3)
    assert found.clean.all()


def test_frames_with_a_broken_outline_are_not_clean():
  facts = storyworld.Facts(shape='triangle', colour='blue')
  frames = storyworld.render_clip(storyworld.Scene(facts=facts), 6, 64)
  square = storyworld.render_clip(
    storyworld.Scene(facts=facts.replace(shape='square')), 6, 64
  )
  # Half of another shape.
  frames[4:, :, 32:] = square[4:, :, 32:]
  world = StoryWorld(subset=storyworld.subset_named('easy'))
  assert world.read(frames).clean.tolist() == [True] * 4 + [False] * 2
