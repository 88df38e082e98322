"""Draw stories and images of the sprite world."""

from collections.abc import Container, Iterator

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from phenaki_jax.lpc import facts as facts_lib
from phenaki_jax.lpc import story as story_lib
from phenaki_jax.lpc.ground import ground
from phenaki_jax.lpc.sheets import CELL, Sheets
from phenaki_jax.types import ImageU8, VideoU8

FPS = 8
SPEED = 8  # pixels that a walking character moves in a frame
# The same as (x, y), by direction.
STEPS = {
  'left': (-SPEED, 0),
  'right': (SPEED, 0),
  'up': (0, -SPEED),
  'down': (0, SPEED),
}


def _poses(
  story: story_lib.Story, size: int
) -> Iterator[tuple[facts_lib.Facts, int, tuple[int, int]]]:
  """Yield (facts, frame of the scene, position) of each frame of a story."""
  most = size - CELL
  x, y = story.x, story.y
  for scene in story.scenes:
    across, down = STEPS[scene.facts.direction]
    for frame in range(scene.frames):
      yield scene.facts, frame, (x, y)
      if scene.facts.action == 'walk':
        x = min(max(x + across, 0), most)
        y = min(max(y + down, 0), most)


def _draw(sheets, pose, size):
  facts, frame, position = pose
  picture = Image.fromarray(ground(facts.place, size)).convert('RGBA')
  picture.alpha_composite(sheets.cell(facts, frame), position)
  return picture.convert('RGB')


def render_story(
  story: story_lib.Story,
  sheets: Sheets,
  *,
  size: int,
  frames: Container[int] | None = None,
) -> VideoU8:
  """Render the frames of a story, whose scenes are plain.

  A character walks until it reaches the edge of the frame. Its position and
  place continue from scene to scene.

  Args:
    story: what to render.
    sheets: the drawings.
    size: side in pixels, at least 64.
    frames: indices of the frames to render; None renders all.
  """
  return np.stack(
    [
      np.asarray(_draw(sheets, pose, size))
      for index, pose in enumerate(_poses(story, size))
      if frames is None or index in frames
    ]
  )


def render_image(
  story: story_lib.Story, sheets: Sheets, *, size: int
) -> ImageU8:
  """Render the last frame of a story in its style; see `render_story`."""
  *_, pose = _poses(story, size)
  picture = _draw(sheets, pose, size)
  style = pose[0].style
  if style == 'pencil drawing':
    grey = ImageOps.grayscale(picture)
    lines = ImageOps.invert(grey.filter(ImageFilter.FIND_EDGES))
    shaded = Image.blend(lines, ImageOps.autocontrast(grey), 0.25)
    picture = shaded.convert('RGB')
  elif style == 'watercolor painting':
    smooth = picture.filter(ImageFilter.ModeFilter(5))
    smooth = smooth.filter(ImageFilter.GaussianBlur(1))
    picture = ImageOps.posterize(smooth, 4)
  return np.asarray(picture)
