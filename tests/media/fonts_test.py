"""Captions in any common script have glyphs, and what has none is known."""

import importlib.resources

import numpy as np
import pytest
from PIL import Image, ImageDraw

from phenaki_jax.media import fonts

WORDS = {
  'Latin': 'Žižek naïve café Ørsted',
  'decomposed': 'cafe\u0301',
  'Greek': 'Ελληνικά',
  'Cyrillic': 'Привет мир',
  'Hebrew': 'שלום עולם',
  'Arabic': 'مرحبا بالعالم',
  'Chinese': '你好世界 一只猫在跑',
  'traditional': '貓在奔跑',
  'Japanese': '日本語のキャプション、猫',
  'Korean': '한국어 자막 고양이',
}


def drawn(text, size=16):
  """Return the ink of a line of text, [40, 400]."""
  image = Image.new('RGB', (400, 40), (255, 255, 255))
  fonts.draw(ImageDraw.Draw(image), (8, 28), text, (0, 0, 0), size)
  return np.asarray(image)[..., 0] < 128


@pytest.mark.parametrize('text', WORDS.values(), ids=WORDS)
def test_every_script_is_drawn(text):
  assert fonts.missing(text) == ''
  ink = drawn(text)
  box = drawn('\U0001f388')  # which no font has
  assert ink.any()
  for character in set(text) - {' ', '\u0301'}:
    assert not np.array_equal(drawn(character), box)
  columns = np.flatnonzero(ink.any(axis=0))
  assert columns[0] >= 7 and columns[-1] <= 9 + fonts.length(text, 16)


def test_characters_without_a_glyph_are_named_and_marked():
  assert fonts.missing('a 🎈 and a 🐈, 🎈') == '🎈🐈'
  assert drawn('\U0001f388').any()


def test_invisible_characters_need_no_glyph():
  assert fonts.missing('a\u200bb \u00a0\ufe0f\u200d') == ''


@pytest.mark.parametrize('text', ['a cat runs', '  two  spaces ', 'x'])
def test_english_is_drawn_as_pillow_draws_it(text):
  from PIL import ImageFont

  font = ImageFont.load_default(16)
  image = Image.new('RGB', (400, 40), (255, 255, 255))
  pen = ImageDraw.Draw(image)
  pen.text((8, 28 - fonts.ascent(16)), text.strip(' '), (0, 0, 0), font)
  expected = np.asarray(image)[..., 0] < 128
  np.testing.assert_array_equal(drawn(text.strip(' ')), expected)
  assert fonts.length(text, 16) == pytest.approx(font.getlength(text), abs=1)


def test_words_of_hebrew_are_in_reverse_order():
  one, two = 'שלום', 'אב'
  both = drawn(f'{one} {two}')
  columns = np.flatnonzero(both.any(axis=0))
  first = drawn(two)
  width = np.flatnonzero(first.any(axis=0))[-1] + 1
  # The second word is on the left.
  np.testing.assert_array_equal(both[:, :width], first[:, :width])
  assert columns[-1] > width


def test_fonts_are_small_and_have_their_licences():
  folder = importlib.resources.files('phenaki_jax.media') / 'fonts'
  names = [file.name for file in folder.iterdir()]
  fonts_found = [name for name in names if name.endswith('.ttf.xz')]
  assert len(fonts_found) == 2
  for name in fonts_found:
    assert f'{name.partition("-")[0]}-LICENSE.txt' in names
  assert sum(len((folder / name).read_bytes()) for name in names) < 1_000_000
