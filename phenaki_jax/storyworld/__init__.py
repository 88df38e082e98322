"""StoryWorld: a synthetic world of moving shapes, with an oracle that reads it.

These are the entry points; the modules hold the rest.
"""

from phenaki_jax.storyworld.example import training_clip, training_image
from phenaki_jax.storyworld.facts import Facts
from phenaki_jax.storyworld.foreground import read_depth
from phenaki_jax.storyworld.grammar import caption, parse
from phenaki_jax.storyworld.heldout import is_held_out
from phenaki_jax.storyworld.layouts import write_img2dataset, write_webvid
from phenaki_jax.storyworld.oracle import read_clip
from phenaki_jax.storyworld.random_scene import sample_facts
from phenaki_jax.storyworld.renderer import render_clip
from phenaki_jax.storyworld.returns import sample_return
from phenaki_jax.storyworld.scene import Scene
from phenaki_jax.storyworld.story import (
  Story,
  StoryScene,
  render_story,
  sample_story,
)
from phenaki_jax.storyworld.subset import SUBSETS, subset_named

__all__ = [
  'Facts',
  'SUBSETS',
  'Scene',
  'Story',
  'StoryScene',
  'caption',
  'is_held_out',
  'parse',
  'read_clip',
  'read_depth',
  'render_clip',
  'render_story',
  'sample_facts',
  'sample_return',
  'sample_story',
  'subset_named',
  'training_clip',
  'training_image',
  'write_img2dataset',
  'write_webvid',
]
