import dataclasses

import pytest

from phenaki_jax import lpc


def test_spans_follow_each_other_and_empty_stories_are_refused():
  facts = lpc.Facts(
    kind='man',
    hair='red',
    hair_style='long',
    outfit='teal',
    pants='red',
    action='walk',
    direction='up',
    place='grass',
  )
  scene = lpc.Scene(facts=facts, prompt='', frames=3)
  longer = dataclasses.replace(scene, frames=5)
  story = lpc.Story(scenes=(scene, longer), x=0, y=0)
  assert story.spans == ((0, 3), (3, 8))
  with pytest.raises(ValueError, match='no scenes'):
    lpc.Story(scenes=(), x=0, y=0)
  with pytest.raises(ValueError, match='has 0 frames'):
    lpc.Scene(facts=facts, prompt='', frames=0)
