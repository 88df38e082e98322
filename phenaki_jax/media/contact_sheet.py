"""One picture that tells a whole story: rows of frames, prompts below them."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from phenaki_jax.errors import UserError
from phenaki_jax.media.film import checked_frame, enlarge
from phenaki_jax.types import ImageU8

_PAPER = (255, 255, 255)
_INK = (24, 24, 24)
_PALE = (128, 128, 128)
_MARGIN = 16
_GAP = 4
_FONT_SIZE = 18
_LINE = 24
_MIN_WIDTH = 480


@dataclasses.dataclass(frozen=True, kw_only=True)
class SheetRow:
  """Hold one scene: its text and its frames, uint8 RGB [H, W, 3] each."""

  text: str
  frames: Sequence[np.ndarray] | np.ndarray


def contact_sheet(
  rows: Sequence[SheetRow],
  *,
  columns: int = 8,
  min_height: int = 96,
  footer: str = '',
) -> ImageU8:
  """Lay out scenes as rows of frames with their text wrapped below.

  Args:
    rows: the scenes; all frames are of one size.
    columns: most frames per row. A longer scene shows frames spread evenly
      over it, the first and the last among them.
    min_height: small frames are enlarged as films are; see `media.enlarge`.
    footer: a line in grey at the end, such as the notice 'AI-generated'.

  Raises:
    UserError: for no rows, a row without frames, frames of several sizes, or
      fewer than one column.
  """
  if columns < 1:
    raise UserError(f'columns is {columns}, but must be 1 or more')
  if not rows or not all(len(row.frames) for row in rows):
    raise UserError('a contact sheet needs rows, and frames in each of them')
  tiles = [
    [
      enlarge(checked_frame(frame), min_height)
      for frame in _spread(row, columns)
    ]
    for row in rows
  ]
  shapes = {tile.shape for row_tiles in tiles for tile in row_tiles}
  if len(shapes) > 1:
    raise UserError('all frames of a contact sheet must be of one size')
  ((tile_height, tile_width, _),) = shapes
  font = ImageFont.load_default(_FONT_SIZE)
  used = max(map(len, tiles))
  width = max(_MIN_WIDTH, used * (tile_width + _GAP) - _GAP)
  texts = [_wrap(row.text, width, font.getlength) for row in rows]
  foot = _wrap(footer, width, font.getlength) if footer else []
  height = sum(tile_height + _GAP + _LINE * len(t) + _MARGIN for t in texts)
  height += _LINE * len(foot)
  sheet = Image.new('RGB', (width + 2 * _MARGIN, height + _MARGIN), _PAPER)
  draw = ImageDraw.Draw(sheet)
  y = _MARGIN
  for row_tiles, lines in zip(tiles, texts, strict=True):
    for i, tile in enumerate(row_tiles):
      left = _MARGIN + i * (tile_width + _GAP)
      sheet.paste(Image.fromarray(tile), (left, y))
    y += tile_height + _GAP
    for line in lines:
      draw.text((_MARGIN, y), line, _INK, font)
      y += _LINE
    y += _MARGIN
  for line in foot:
    draw.text((_MARGIN, y - _GAP), line, _PALE, font)
    y += _LINE
  return np.asarray(sheet)


def _spread(row: SheetRow, columns: int) -> list[np.ndarray]:
  count = min(columns, len(row.frames))
  chosen = np.linspace(0, len(row.frames) - 1, count).round().astype(int)
  return [row.frames[i] for i in chosen]


def _wrap(text: str, width: int, measure: Callable[[str], float]) -> list[str]:
  """Break a text into lines of at most `width` pixels, words whole if short."""
  lines = ['']
  for word in text.split():
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
  return lines
