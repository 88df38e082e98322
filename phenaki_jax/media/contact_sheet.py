"""Contact sheets: one image that shows the frames of many clips or images."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from phenaki_jax.media import fonts
from phenaki_jax.media.frames import checked_frame, enlarge, spread
from phenaki_jax.types import ImageU8

Row = tuple[str, Sequence[np.ndarray] | np.ndarray]
"""A text and the frames above it, uint8 RGB [H, W, 3] each."""

_WHITE = 255
_DARK = (24, 24, 24)
_GREY = (128, 128, 128)
_MARGIN = 16
_GAP = 4


def contact_sheet(
  rows: Sequence[Row],
  *,
  images: Sequence[tuple[str, np.ndarray]] = (),
  columns: int = 8,
  min_height: int = 96,
  min_width: int = 480,
  font_size: int = 18,
  max_lines: int | None = None,
  title: str = '',
  footer: str = '',
) -> ImageU8:
  """Lay out clips as rows of frames with their text wrapped below.

  Args:
    rows: a text and the frames of each clip.
    images: a text and the frame of each image; they follow the rows, as many
      side by side as the sheet is wide. All frames are of one size.
    columns: the maximum number of frames in a row. A longer clip shows frames
      spread evenly over it, including the first and the last.
    min_height: small frames are enlarged to this height; see `frames.enlarge`.
    min_width: the least width of a row, in pixels; wider rows widen the sheet.
    font_size: of all text, in pixels.
    max_lines: the maximum number of lines of a text; longer texts end in dots.
    title: a text above everything.
    footer: a grey text below everything, such as the notice 'AI-generated'.

  Raises:
    ValueError: for no rows and no images, a row without frames, frames of
      several sizes, or fewer than one column.
  """
  if columns < 1:
    raise ValueError(f'columns is {columns}, but must be at least 1')
  if not (rows or images) or not all(len(frames) for _, frames in rows):
    raise ValueError(
      'a contact sheet needs rows or images, with frames in each'
    )

  def fit(frame: np.ndarray) -> np.ndarray:
    return enlarge(checked_frame(frame), min_height)

  strips = [
    (text, [fit(frames[i]) for i in spread(len(frames), columns)])
    for text, frames in rows
  ]
  singles = [(text, [fit(frame)]) for text, frame in images]
  cells = strips + singles
  shapes = {tile.shape for _, tiles in cells for tile in tiles}
  if len(shapes) > 1:
    raise ValueError('all frames of a contact sheet must be of one size')
  ((_, tile_width, _),) = shapes
  pitch = tile_width + _GAP
  most = max(len(tiles) for _, tiles in cells)
  width = max(min_width, most * pitch - _GAP)
  across = max(1, (width + _GAP) // pitch)
  pen = _Pen(width=width, font_size=font_size)
  bands = [pen.text(title, _DARK)] if title else []
  for strip in strips:
    bands.append(pen.shelf([strip], text_width=width, max_lines=max_lines))
  for first in range(0, len(singles), across):
    shelf = singles[first : first + across]
    bands.append(pen.shelf(shelf, text_width=tile_width, max_lines=max_lines))
  parts = [pen.blank(_MARGIN)]
  for band in bands:
    parts += [band, pen.blank(_MARGIN)]
  if footer:
    parts.append(pen.text(footer, _GREY))
  sheet = np.concatenate(parts)
  sides = ((0, 0), (_MARGIN, _MARGIN), (0, 0))
  return np.pad(sheet, sides, constant_values=_WHITE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Pen:
  """Draws the horizontal bands of a sheet, uint8 [height, width, 3]."""

  width: int
  font_size: int

  def blank(self, height: int) -> np.ndarray:
    """Return an empty band."""
    return np.full((height, self.width, 3), _WHITE, np.uint8)

  def text(
    self,
    text: str,
    colour: tuple[int, int, int],
    *,
    width: int | None = None,
    max_lines: int | None = None,
  ) -> np.ndarray:
    """Return a band, or a narrower image, with wrapped text."""
    width = self.width if width is None else width
    size = self.font_size
    line_height = round(size * 4 / 3)
    lines = _wrap(text, width, lambda t: fonts.length(t, size), max_lines)
    band = Image.new('RGB', (width, line_height * len(lines)), (_WHITE,) * 3)
    pen = ImageDraw.Draw(band)
    for i, line in enumerate(lines):
      baseline = i * line_height + fonts.ascent(size)
      fonts.draw(pen, (0, baseline), line, colour, size)
    return np.asarray(band)

  def shelf(
    self, cells: Sequence[Row], *, text_width: int, max_lines: int | None
  ) -> np.ndarray:
    """Return a band with cells side by side."""
    texts = [
      self.text(text, _DARK, width=text_width, max_lines=max_lines)
      for text, _ in cells
    ]
    height, width, _ = cells[0][1][0].shape
    band = self.blank(height + _GAP + max(map(len, texts)))
    left = 0
    for (_, tiles), text in zip(cells, texts, strict=True):
      band[height + _GAP :][: len(text), left : left + text_width] = text
      for tile in tiles:
        band[:height, left : left + width] = tile
        left += width + _GAP
    return band


def _wrap(
  text: str,
  width: int,
  measure: Callable[[str], float],
  max_lines: int | None,
) -> list[str]:
  """Break a text into lines of at most `width` pixels.

  A word is only broken if it is longer than a line.
  """
  lines = ['']
  for word in text.split():
    if max_lines is not None and len(lines) > max_lines:
      break
    joined = f'{lines[-1]} {word}'.strip()
    if measure(joined) <= width:
      lines[-1] = joined
      continue
    if lines[-1]:
      lines.append('')
    for character in word:
      if lines[-1] and measure(lines[-1] + character) > width:
        lines.append('')
      lines[-1] += character
  if max_lines is None or len(lines) <= max_lines:
    return lines
  last = lines[max_lines - 1]
  while last and measure(f'{last}...') > width:
    last = last[:-1]
  return [*lines[: max_lines - 1], f'{last}...']
