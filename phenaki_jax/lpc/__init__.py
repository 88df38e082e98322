"""The sprite world: characters drawn by the artists of the Liberated Pixel Cup.

These are the entry points; the modules hold the rest. The sheets are licensed
under CC-BY-SA 3.0 and are not part of the package.
"""

from phenaki_jax.lpc.facts import Facts
from phenaki_jax.lpc.grammar import caption, continuation, parse, prompt
from phenaki_jax.lpc.heldout import is_held_out
from phenaki_jax.lpc.layouts import (
  World,
  write_img2dataset,
  write_returns,
  write_stories,
  write_webvid,
)
from phenaki_jax.lpc.random_story import (
  sample_clip,
  sample_image,
  sample_return,
  sample_story,
)
from phenaki_jax.lpc.renderer import render_image, render_story
from phenaki_jax.lpc.sheets import AUTHORS, LICENSE, Sheets
from phenaki_jax.lpc.story import Scene, Story

__all__ = [
  'AUTHORS',
  'LICENSE',
  'Facts',
  'Scene',
  'Sheets',
  'Story',
  'World',
  'caption',
  'continuation',
  'is_held_out',
  'parse',
  'prompt',
  'render_image',
  'render_story',
  'sample_clip',
  'sample_image',
  'sample_return',
  'sample_story',
  'write_img2dataset',
  'write_returns',
  'write_stories',
  'write_webvid',
]
