"""The figure of a drift report: four rows over the time of the film."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from phenaki_jax.media import fonts
from phenaki_jax.stories.drift import DriftReport
from phenaki_jax.types import ImageU8

_WIDTH, _HEIGHT, _MARGIN, _TITLE, _FONT = 960, 120, 16, 22, 14
_DARK, _GREY, _WHITE = (24, 24, 24), (190, 190, 190), (255, 255, 255)
_RED, _GREEN, _BLUE = (200, 60, 60), (60, 150, 70), (60, 100, 200)


def draw_drift(report: DriftReport, fps: float) -> ImageU8:
  """Draw colours, sharpness, seam scores and facts over the film."""
  frames = [point.frame for point in report.points]
  colours = np.array([point.colour for point in report.points])
  sharp = np.array([point.sharpness for point in report.points])
  seams = np.array([score for _, score in report.joins])
  seconds = report.frames / fps
  panels = [_Panel(f'mean red, green and blue; {seconds:.0f} s', report.frames)]
  for channel, colour in enumerate((_RED, _GREEN, _BLUE)):
    panels[-1].line(frames, colours[:, channel], 1.0, colour)
  top = float(max(sharp.max(initial=0), 1e-6))
  panels.append(_Panel(f'sharpness, up to {top:.3f}', report.frames))
  panels[-1].line(frames, sharp, top, _DARK)
  top = float(max(seams.max(initial=0), 2.0))
  mean = seams.mean() if len(seams) else float('nan')
  title = f'seam score of {len(seams)} joins, mean {mean:.2f}, up to {top:.1f}'
  panels.append(_Panel(title, report.frames))
  panels[-1].line([0, report.frames], np.ones(2), top, _GREY)
  panels[-1].dots([frame for frame, _ in report.joins], seams, top, _BLUE)
  for fact, row in report.facts.items():
    right = sum(is_right for _, is_right in row) / len(row)
    panel = _Panel(f'{fact}: {right:.2f} right', report.frames, height=16)
    panel.bars([f for f, _ in row], [is_right for _, is_right in row])
    panels.append(panel)
  return np.concatenate([panel.pixels() for panel in panels])


class _Panel:
  """One row of the figure."""

  def __init__(self, title: str, frames: int, height: int = _HEIGHT) -> None:
    self._frames, self._height = max(1, frames), height
    size = (_WIDTH, height + _TITLE + _MARGIN)
    self._picture = Image.new('RGB', size, _WHITE)
    self._pen = ImageDraw.Draw(self._picture)
    base = fonts.ascent(_FONT) + 2
    fonts.draw(self._pen, (_MARGIN, base), title, _DARK, _FONT)
    edge = (_MARGIN, _TITLE, _WIDTH - _MARGIN, _TITLE + height)
    self._pen.rectangle(edge, outline=_GREY)

  def pixels(self) -> np.ndarray:
    return np.asarray(self._picture)

  def _x(self, frame: int) -> float:
    return _MARGIN + frame * (_WIDTH - 2 * _MARGIN) / self._frames

  def _y(self, value: float, top: float) -> float:
    return _TITLE + self._height * (1 - min(value / top, 1.0))

  def line(
    self,
    frames: Sequence[int],
    values: np.ndarray,
    top: float,
    colour: tuple[int, int, int],
  ) -> None:
    places = [
      (self._x(frame), self._y(float(value), top))
      for frame, value in zip(frames, values, strict=True)
    ]
    self._pen.line(places, colour)

  def dots(
    self,
    frames: Sequence[int],
    values: np.ndarray,
    top: float,
    colour: tuple[int, int, int],
  ) -> None:
    for frame, value in zip(frames, values, strict=True):
      x, y = self._x(frame), self._y(float(value), top)
      self._pen.rectangle((x - 1, y - 1, x + 1, y + 1), colour)

  def bars(self, frames: Sequence[int], right: Sequence[bool]) -> None:
    begin = 0
    for frame, is_right in zip(frames, right, strict=True):
      area = (self._x(begin), _TITLE, self._x(frame + 1), _TITLE + self._height)
      self._pen.rectangle(area, _GREEN if is_right else _RED)
      begin = frame + 1
