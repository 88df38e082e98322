"""StoryWorld: a small world of moving shapes, made and read by code."""

from phenaki_jax.storyworld.example import (
  ClipExample,
  ImageExample,
  training_clip,
  training_image,
)
from phenaki_jax.storyworld.facts import Facts, SecondObject
from phenaki_jax.storyworld.grammar import (
  caption,
  continuation,
  full_prompt,
  parse,
)
from phenaki_jax.storyworld.heldout import is_held_out
from phenaki_jax.storyworld.img2dataset import write_img2dataset
from phenaki_jax.storyworld.oracle import Reading, read_clip
from phenaki_jax.storyworld.renderer import render_clip, render_image
from phenaki_jax.storyworld.sampler import (
  sample_change,
  sample_facts,
  sample_image_facts,
  sample_scene,
)
from phenaki_jax.storyworld.scene import Scene
from phenaki_jax.storyworld.score import (
  ClipScore,
  JoinScore,
  SceneSpan,
  StoryScore,
  score_clip,
  score_story,
)
from phenaki_jax.storyworld.story import (
  Story,
  StoryScene,
  render_story,
  sample_story,
)
from phenaki_jax.storyworld.subset import SUBSETS, Subset, subset_named
from phenaki_jax.storyworld.webvid import write_webvid

__all__ = [
  'ClipExample',
  'ClipScore',
  'Facts',
  'ImageExample',
  'JoinScore',
  'Reading',
  'SUBSETS',
  'Scene',
  'SceneSpan',
  'SecondObject',
  'Story',
  'StoryScene',
  'StoryScore',
  'Subset',
  'caption',
  'continuation',
  'full_prompt',
  'is_held_out',
  'parse',
  'read_clip',
  'render_clip',
  'render_image',
  'render_story',
  'sample_change',
  'sample_facts',
  'sample_image_facts',
  'sample_scene',
  'sample_story',
  'score_clip',
  'score_story',
  'subset_named',
  'training_clip',
  'training_image',
  'write_img2dataset',
  'write_webvid',
]
