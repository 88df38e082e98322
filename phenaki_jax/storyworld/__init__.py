"""StoryWorld: a small world of moving shapes, made and read by code."""

from phenaki_jax.storyworld.example import ClipExample
from phenaki_jax.storyworld.example import evaluation_story
from phenaki_jax.storyworld.example import ImageExample
from phenaki_jax.storyworld.example import training_clip
from phenaki_jax.storyworld.example import training_image
from phenaki_jax.storyworld.facts import Facts
from phenaki_jax.storyworld.facts import SecondObject
from phenaki_jax.storyworld.grammar import caption
from phenaki_jax.storyworld.grammar import continuation
from phenaki_jax.storyworld.grammar import full_prompt
from phenaki_jax.storyworld.grammar import parse
from phenaki_jax.storyworld.heldout import is_held_out
from phenaki_jax.storyworld.renderer import render_clip
from phenaki_jax.storyworld.renderer import render_image
from phenaki_jax.storyworld.sampler import sample_change
from phenaki_jax.storyworld.sampler import sample_facts
from phenaki_jax.storyworld.sampler import sample_image_facts
from phenaki_jax.storyworld.sampler import sample_scene
from phenaki_jax.storyworld.scene import Scene
from phenaki_jax.storyworld.story import render_story
from phenaki_jax.storyworld.story import sample_story
from phenaki_jax.storyworld.story import Story
from phenaki_jax.storyworld.story import StoryScene
from phenaki_jax.storyworld.subset import Subset
from phenaki_jax.storyworld.subset import subset_named
from phenaki_jax.storyworld.subset import SUBSETS
