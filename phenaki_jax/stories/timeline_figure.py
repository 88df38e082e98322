"""The timeline of a story as a picture: one row for each scene."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from phenaki_jax.media import fonts
from phenaki_jax.stories.story import Story
from phenaki_jax.stories.timeline import Window
from phenaki_jax.types import ImageU8

MAX_ROWS = 200
_WIDTH, _MARGIN, _ROW, _BAR, _FONT = 960, 16, 44, 16, 14
_DARK, _GREY, _EDGE = (24, 24, 24), (150, 150, 150), (255, 255, 255)
_COLOURS = ((66, 120, 190), (226, 132, 52), (84, 160, 90), (176, 92, 160))
SEEN = (205, 205, 205)
"""Colour of the frames of the story that the first window of a scene sees."""


def draw_timeline(story: Story, windows: Sequence[Window]) -> ImageU8:
  """Draw which prompt is active in which frames.

  The coloured bar of a row covers the frames of its scene, with a line between
  its windows, and the grey bar the frames of the story before it that its first
  window sees. Of a story of more than `MAX_ROWS` scenes the first are drawn.

  Args:
    story: a resolved story.
    windows: its windows; see `timeline.plan`.
  """
  total = max(1, story.num_frames)
  shown = min(len(story.scenes), MAX_ROWS)
  height = 2 * _MARGIN + (shown + 1) * _ROW
  picture = Image.new('RGB', (_WIDTH, height), _EDGE)
  pen = ImageDraw.Draw(picture)

  def left(frame: int) -> int:
    return _MARGIN + round(frame * (_WIDTH - 2 * _MARGIN) / total)

  for window in windows:
    if window.scene >= shown:
      break
    top = _MARGIN + window.scene * _ROW
    bottom = top + _BAR - 1
    colour = _COLOURS[window.scene % len(_COLOURS)]
    first, stop = left(window.start), left(window.start + window.frames)
    if not window.number:
      begin = left(window.start - window.sees_story)
      if begin < first:
        pen.rectangle((begin, top, first - 1, bottom), SEEN)
      text = f'{window.scene + 1}. {story.scenes[window.scene].prompt}'
      while fonts.length(text, _FONT) > _WIDTH - 2 * _MARGIN:
        text = text[:-4].rstrip() + '...'
      line = bottom + 4 + fonts.ascent(_FONT)
      fonts.draw(pen, (_MARGIN, line), text, _DARK, _FONT)
    pen.rectangle((first, top, max(first, stop - 1), bottom), colour)
    if window.number:
      pen.line((first, top, first, bottom), _EDGE)
  base = _MARGIN + shown * _ROW + fonts.ascent(_FONT)
  fps = story.fps or 1.0
  for frame in np.unique(np.linspace(0, total, 9).round().astype(int)).tolist():
    text = f'{frame} ({frame / fps:.1f} s)'
    place = left(frame) - round(fonts.length(text, _FONT) * frame / total)
    fonts.draw(pen, (place, base), text, _GREY, _FONT)
  return np.asarray(picture)
