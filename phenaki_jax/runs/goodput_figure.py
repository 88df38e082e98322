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
_WIDTH, _MARGIN, _LINE, _ROW, _SIZE = 1000, 24, 96, 26, 16
_TOP = _MARGIN + 2 * _ROW  # of the time line
_TEXT, _NUMBERS = 124, 640  # where the texts of rows begin, and numbers end


def draw(goodput: Goodput) -> ImageU8:
  """Draw the time line of a run, and below it the sum of each kind of time.

  A column of the time line is divided as the time of that pixel was.
  """
  assert set(_COLOURS) == set(REASONS)
  seconds = {k: v for k, v in goodput.seconds.items() if v > 0}
  rows = _TOP + _LINE + 2 * _ROW
  height = rows + _ROW * len(seconds) + _MARGIN // 2
  image = Image.new('RGB', (_WIDTH, height), _WHITE)
  pen = ImageDraw.Draw(image)
  total = goodput.total or 1.0
  width = _WIDTH - 2 * _MARGIN

  def write(
    x: int, y: int, text: str, colour: tuple[int, int, int], align: float = 0.0
  ) -> None:
    """Write a line whose left end, or right end for 1.0, is at x."""
    left = x - round(align * fonts.length(text, _SIZE))
    fonts.draw(pen, (left, y), text, colour, _SIZE)

  write(_MARGIN, _MARGIN + _SIZE, describe(goodput), _DARK)
  image.paste(Image.fromarray(_time_line(goodput, width)), (_MARGIN, _TOP))
  for quarter in range(5):
    share = quarter / 4
    x, text = _MARGIN + round(width * share), _duration(total * share)
    write(x, _TOP + _LINE + _ROW - 4, text, _GREY, align=share)
  for row, (kind, value) in enumerate(seconds.items()):
    y = rows + row * _ROW
    pen.rectangle((_MARGIN, y, _MARGIN + 14, y + 14), _COLOURS[kind])
    write(_MARGIN + 24, y + 14, kind, _DARK)
    write(_TEXT, y + 14, REASONS[kind], _GREY)
    shown = f'{_duration(value)}, {value / total:.1%}'
    write(_NUMBERS, y + 14, shown, _DARK, align=1.0)
    left = _NUMBERS + 16
    # At least one pixel, so that it can be seen.
    length = max(1, round((_WIDTH - _MARGIN - left) * value / total))
    pen.rectangle((left, y, left + length - 1, y + 16), _COLOURS[kind])
  return np.asarray(image)


def _time_line(goodput: Goodput, width: int) -> ImageU8:
  edges = np.linspace(0.0, goodput.total, width + 1)
  times = [0.0] + [span.end for span in goodput.spans]
  parts = []
  for kind in REASONS:
    spent = [s.end - s.begin if s.kind == kind else 0.0 for s in goodput.spans]
    until = np.interp(edges, times, np.cumsum([0.0, *spent]))
    parts.append(np.diff(until))
  # Steps that count are at the bottom, and the rest in the order of REASONS.
  tops = np.cumsum(parts, axis=0) / max(goodput.total, 1e-9) * width
  heights = (np.arange(_LINE)[::-1] + 0.5) / _LINE
  index = (tops[:, None] < heights[None, :, None]).sum(0)
  colours = np.array([*map(_COLOURS.get, REASONS), _WHITE], np.uint8)
  return colours[index]


def _duration(seconds: float) -> str:
  """Return a time in the largest unit of which it has two."""
  for unit, name in ((86400, 'd'), (3600, 'h'), (60, 'min')):
    if seconds >= 2 * unit:
      return f'{seconds / unit:.1f} {name}'
  return f'{seconds:.1f} s'
