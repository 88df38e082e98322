"""Draw examples on one sheet: clips as film strips, images in rows."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from phenaki_jax.data import manifest as manifest_lib
from phenaki_jax.data import schema
from phenaki_jax.errors import UserError

_MARGIN = 16
_GAP = 4
_LINE = 15
_FONT_SIZE = 11
_INK, _QUIET, _PAPER = (32, 32, 36), (120, 120, 128), (250, 250, 248)
_MAX_STRIP = 9  # frames of a strip; longer clips are thinned out evenly
_IMAGE_LINES = 5  # of a caption under an image


def pick(
  manifest: manifest_lib.Manifest,
  kind: str,
  *,
  count: int,
  request: schema.ExampleRequest,
  seed: int = 0,
) -> list[schema.Example]:
  """Decode `count` records of a kind, drawn without repeats.

  Raises:
    schema.DecodeError: one of them has been broken since the build.
  """
  rows = manifest.rows(kind)
  rng = np.random.default_rng(seed)
  chosen = rng.permutation(rows)[:count]
  return [
    manifest.reader(int(row)).example(manifest[int(row)], request)
    for row in chosen
  ]


def draw(
  *,
  clips: Sequence[schema.Example],
  images: Sequence[schema.Example],
  title: str = '',
  width: int = 928,
) -> Image.Image:
  """Draw a sheet.

  Args:
    clips: shown as strips of frames, one below the other.
    images: shown in rows.
    title: first line of the sheet.
    width: of the sheet, in pixels; it grows if a strip needs more.

  Raises:
    UserError: there is nothing to draw.
  """
  if not clips and not images:
    raise UserError('there are no examples to draw')
  blocks = [_strip(clip) for clip in clips]
  width = max([width - 2 * _MARGIN, *(block.width for block in blocks)])
  if images:
    blocks += _rows([_tile(image) for image in images], width)
  font = ImageFont.load_default(13)
  top = _MARGIN + (_LINE + _MARGIN if title else 0)
  height = top + sum(block.height + _MARGIN for block in blocks)
  sheet = Image.new('RGB', (width + 2 * _MARGIN, height), _PAPER)
  ImageDraw.Draw(sheet).text((_MARGIN, _MARGIN), title, _INK, font)
  for block in blocks:
    sheet.paste(block, (_MARGIN, top))
    top += block.height + _MARGIN
  return sheet


def _strip(clip: schema.Example) -> Image.Image:
  """Draw the real frames of a clip side by side over its caption."""
  real = clip.pixels[: clip.num_frames]
  count = min(len(real), _MAX_STRIP)
  shown = real[np.linspace(0, len(real) - 1, count).round().astype(int)]
  height, width = shown.shape[1:3]
  total = count * (width + _GAP) - _GAP
  lines = _wrapped(clip.caption, total, limit=2)
  block = Image.new('RGB', (total, height + _LINE * len(lines)), _PAPER)
  for i, frame in enumerate(shown):
    block.paste(Image.fromarray(frame), (i * (width + _GAP), 0))
  _write(block, lines, top=height)
  return block


def _tile(image: schema.Example) -> Image.Image:
  """Draw an image over its caption."""
  height, width = image.pixels.shape[:2]
  lines = _wrapped(image.caption, width, limit=_IMAGE_LINES)
  block = Image.new('RGB', (width, height + _LINE * _IMAGE_LINES), _PAPER)
  block.paste(Image.fromarray(image.pixels), (0, 0))
  _write(block, lines, top=height)
  return block


def _rows(tiles: Sequence[Image.Image], width: int) -> list[Image.Image]:
  """Put tiles of one size into rows."""
  step = tiles[0].width + _GAP
  columns = max(1, (width + _GAP) // step)
  rows = []
  for row in range(math.ceil(len(tiles) / columns)):
    block = Image.new('RGB', (width, tiles[0].height), _PAPER)
    for i, tile in enumerate(tiles[row * columns : (row + 1) * columns]):
      block.paste(tile, (i * step, 0))
    rows.append(block)
  return rows


def _wrapped(text: str, width: int, *, limit: int) -> list[str]:
  """Break a caption into lines that fit, marking what does not with dots."""
  font = ImageFont.load_default(_FONT_SIZE)
  lines = ['']
  for word in text.split():
    longer = f'{lines[-1]} {word}'.strip()
    if font.getlength(longer) <= width or not lines[-1]:
      lines[-1] = longer
    elif len(lines) < limit:
      lines.append(word)
    else:
      lines[-1] += ' ...'
      break
  return [_cut(line, font, width) for line in lines]


def _cut(line: str, font: Any, width: int) -> str:
  """Shorten a line that is too long to its dots."""
  if font.getlength(line) <= width:
    return line
  line = line.removesuffix(' ...')[: max(1, width)]
  while line and font.getlength(line + '...') > width:
    line = line[:-1]
  return line.rstrip() + '...'


def _write(block: Image.Image, lines: Sequence[str], *, top: int) -> None:
  pen = ImageDraw.Draw(block)
  font = ImageFont.load_default(_FONT_SIZE)
  for i, line in enumerate(lines):
    pen.text((0, top + i * _LINE), line, _QUIET, font)
