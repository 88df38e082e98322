"""A figure of a run's time: when it was spent on what, and how much in all."""

import numpy as np
from PIL import Image, ImageDraw

from phenaki_jax.media import fonts
from phenaki_jax.runs.goodput import GOOD, REASONS, Goodput, describe
from phenaki_jax.types import ImageU8

_COLOURS = {
  GOOD: (46, 139, 87),
  'wait': (240, 200, 60),
  'lost': (200, 50, 60),
  'save': (70, 130, 200),
  'evaluate': (140, 100, 190),
  'compile': (235, 140, 50),
  'restore': (100, 190, 210),
  'prepare': (190, 150, 110),
  'stop': (90, 90, 110),
  'down': (205, 205, 205),
}
_DARK, _GREY, _WHITE = (24, 24, 24), (110, 110, 110), (255, 255, 255)
_WIDTH, _MARGIN, _BAR, _ROW, _SIZE = 1000, 24, 56, 26, 16
_TEXT, _NUMBERS = 100, 460  # where the texts and the bars of the rows begin


def draw(goodput: Goodput) -> ImageU8:
  """Draw the time line of a run, and below it the sum of each kind of time."""
  assert set(_COLOURS) == set(REASONS)
  seconds = {k: v for k, v in goodput.seconds.items() if v > 0}
  top = _MARGIN + 2 * _ROW
  rows = top + _BAR + 2 * _ROW
  height = rows + _ROW * len(seconds) + _MARGIN // 2
  image = Image.new('RGB', (_WIDTH, height), _WHITE)
  pen = ImageDraw.Draw(image)

  def write(
    x: float, y: float, text: str, colour: tuple[int, int, int]
  ) -> None:
    fonts.draw(pen, (round(x), round(y)), text, colour, _SIZE)

  write(_MARGIN, _MARGIN + _SIZE, describe(goodput), _DARK)
  width = _WIDTH - 2 * _MARGIN
  total = goodput.total or 1.0

  def bar(x: float, y: float, begin: float, end: float, kind: str) -> None:
    scale = (_WIDTH - _MARGIN - x) / total
    # What is short is at least one pixel wide, so that it can be seen.
    left, right = round(x + begin * scale), round(x + end * scale) - 1
    bottom = y + (_BAR if x == _MARGIN else _ROW - 8)
    pen.rectangle((left, y, max(left, right), bottom), _COLOURS[kind])

  for span in goodput.spans:
    bar(_MARGIN, top, span.begin, span.end, span.kind)
  for part in range(5):
    x = _MARGIN + width * part / 4
    text = _duration(total * part / 4)
    place = x - fonts.length(text, _SIZE) * part / 4
    write(place, top + _BAR + _ROW - 4, text, _GREY)
  for row, (kind, value) in enumerate(seconds.items()):
    y = rows + row * _ROW
    pen.rectangle((_MARGIN, y, _MARGIN + 14, y + 14), _COLOURS[kind])
    write(_MARGIN + 24, y + 14, kind, _DARK)
    write(_MARGIN + _TEXT, y + 14, REASONS[kind], _GREY)
    shown = f'{_duration(value)}, {value / total:.1%}'
    end = _NUMBERS + 150
    write(end - fonts.length(shown, _SIZE), y + 14, shown, _DARK)
    bar(end + 16, y, 0.0, value, kind)
  return np.asarray(image)


def _duration(seconds: float) -> str:
  """Return a time in the largest unit of which it has two."""
  for unit, name in ((86400, 'd'), (3600, 'h'), (60, 'min')):
    if seconds >= 2 * unit:
      return f'{seconds / unit:.1f} {name}'
  return f'{seconds:.1f} s'
