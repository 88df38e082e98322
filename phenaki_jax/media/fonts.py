"""Fonts for text in any common script.

Pillow's own font has the characters of English. Words that it cannot draw are
drawn with the fonts of the folder `fonts`. Pillow orders and joins the
letters of Hebrew and Arabic where it was built with Raqm, as its wheels are.
"""

import functools
import importlib.resources
import io
import lzma
import re
import unicodedata

from PIL import ImageDraw, ImageFont

_FILES = ('DejaVuSans-subset.ttf.xz', 'DroidSansFallback-subset.ttf.xz')
_FONTS = (None, *_FILES)  # None: Pillow's own
_UNASSIGNED = '\uffff'  # Renders as the missing-glyph box.
_PROBE_SIZE = 16


def missing(text: str) -> str:
  """Return the characters that no font has, sorted, each once."""
  found = {c for c in text if not any(_covers(name, c) for name in _FONTS)}
  return ''.join(sorted(found))


def length(text: str, size: int) -> float:
  """Return the width of a line of text, in pixels.

  Args:
    text: without line breaks.
    size: of the font, in pixels.
  """
  widths = [_font(name, size).getlength(run) for name, run in _runs(text)]
  return float(sum(widths))


def draw(
  pen: ImageDraw.ImageDraw,
  position: tuple[int, int],
  text: str,
  colour: tuple[int, int, int],
  size: int,
) -> None:
  """Draw a line of text; a box stands for a character that no font has.

  Args:
    pen: draws on the image.
    position: x and y of the left end of the baseline, in pixels.
    text: without line breaks.
    colour: RGB, 0 to 255.
    size: of the font, in pixels.
  """
  x, y = float(position[0]), position[1]
  for name, run in _runs(text):
    font = _font(name, size)
    pen.text((x, y), run, colour, font, anchor='ls')
    x += font.getlength(run)


def ascent(size: int) -> int:
  """Return the distance from the top of a line to its baseline, in pixels."""
  assert isinstance(font := _font(None, size), ImageFont.FreeTypeFont)
  return font.getmetrics()[0]


def _runs(text: str) -> list[tuple[str | None, str]]:
  """Divide a text into runs of words that one font can draw.

  Words of one font make one run, because the words of right-to-left scripts
  are in reverse order. The Han font has no glyph for the space.
  """
  runs: list[tuple[str | None, str]] = []
  spaces = ''
  for part in re.findall(r'\s+|\S+', text):
    if part.isspace():
      spaces = part
      continue
    for name, piece in _pieces(part):
      if runs and runs[-1][0] == name and (not spaces or name != _FILES[1]):
        runs[-1] = (name, runs[-1][1] + spaces + piece)
      else:
        runs += [(None, spaces), (name, piece)] if spaces else [(name, piece)]
      spaces = ''
  return [*runs, (None, spaces)] if spaces else runs


@functools.lru_cache(maxsize=4096)
def _pieces(word: str) -> tuple[tuple[str | None, str], ...]:
  """Return the font of a word, or of each character if none has them all."""
  for name in _FONTS:
    if all(_covers(name, character) for character in word):
      return ((name, word),)
  return tuple(
    (next((n for n in _FONTS if _covers(n, c)), _FILES[0]), c) for c in word
  )


@functools.lru_cache(maxsize=16384)
def _covers(name: str | None, character: str) -> bool:
  if unicodedata.category(character) in ('Cc', 'Cf', 'Zs'):
    return True  # It draws nothing.
  if '\ufe00' <= character <= '\ufe0f':
    return True  # A variation selector, which draws nothing either.
  font = _font(name, _PROBE_SIZE)
  mask, mark = (font.getmask(c) for c in (character, _UNASSIGNED))
  return (mask.size, bytes(mask)) != (mark.size, bytes(mark))


@functools.lru_cache(maxsize=32)
def _font(
  name: str | None, size: int
) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
  if name is None:
    return ImageFont.load_default(size)
  return ImageFont.truetype(io.BytesIO(_read(name)), size)


@functools.cache
def _read(name: str) -> bytes:
  folder = importlib.resources.files('phenaki_jax.media') / 'fonts'
  return lzma.decompress((folder / name).read_bytes())
