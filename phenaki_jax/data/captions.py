"""Captions as they occur in metadata: text, bytes, lists and missing values."""

import dataclasses
import functools
import unicodedata
from typing import Any

NOT_UTF8 = 'caption_not_utf8'
NOT_TEXT = 'caption_not_text'

# Texts that programs write for a missing value.
_MISSING = frozenset(('', 'nan', 'none', 'null', 'na', 'n/a', '<na>'))
# Control and format characters, and the separators between words.
_INVISIBLE = frozenset(('Cc', 'Cf', 'Zl', 'Zp', 'Zs'))
# Letters, symbols and marks that fonts draw as nothing: fillers of Hangul, the
# empty braille cell, variation selectors and the grapheme joiner.
_BLANKS = frozenset(
  '\u115f\u1160\u2800\u3164\uffa0\u034f'
  + ''.join(map(chr, range(0xFE00, 0xFE10)))
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Caption:
  """The caption of a metadata row.

  Attributes:
    text: the caption; '' if the row has none.
    fault: why the value cannot be used; '' if it can.
    unused: number of further captions in the row.
  """

  text: str = ''
  fault: str = ''
  unused: int = 0


def is_empty(text: str) -> bool:
  """Return whether a text shows nothing or stands for a missing value."""
  if not text.isascii():
    text = ''.join(filter(_is_visible, text))
  return text.strip().casefold() in _MISSING


def read(value: Any) -> Caption:
  """Read the value of a caption column.

  Args:
    value: text, UTF-8 bytes, a list of them (the first that is not empty is
      used), or a missing value (None, nan).
  """
  if isinstance(value, str):
    return Caption(text=value)
  if value is None or value != value:  # nan differs from itself
    return Caption()
  if isinstance(value, bytes):
    try:
      return Caption(text=value.decode())
    except UnicodeDecodeError:
      return Caption(fault=NOT_UTF8)
  if not isinstance(value, list):
    return Caption(fault=NOT_TEXT)
  found = [read(item) for item in value]
  texts = [item.text for item in found if not is_empty(item.text)]
  if texts:
    return Caption(text=texts[0], unused=len(texts) - 1)
  return next((item for item in found if item.fault), Caption())


@functools.lru_cache(maxsize=4096)
def _is_visible(character: str) -> bool:
  if character == ' ':
    return True  # The separator keeps 'n a' distinct from 'na'.
  category = unicodedata.category(character)
  return category not in _INVISIBLE and character not in _BLANKS
