"""Lists of words that captions must not contain."""

import functools
import pathlib
import re
import unicodedata
from collections.abc import Sequence

from phenaki_jax.errors import NotFoundError, UserError

_COMMENT = '#'


def read_words(path: str) -> tuple[str, ...]:
  """Read a list: a word or a phrase in each line.

  Empty lines and those that begin with # are skipped.

  Raises:
    UserError: the file is missing, is not UTF-8, or has no words.
  """
  try:
    lines = pathlib.Path(path).read_text('utf-8').splitlines()
  except FileNotFoundError as error:
    raise NotFoundError(
      f'there is no list of words {path}; check the path'
    ) from error
  except UnicodeDecodeError as error:
    raise UserError(
      f'the list of words {path} is not UTF-8 ({error}); convert it'
    ) from error
  words = [line.strip() for line in lines if not line.startswith(_COMMENT)]
  found = tuple(word for word in words if _normal(word))
  if not found:
    raise UserError(f'the list of words {path} has none; write one in a line')
  return found


def contains(text: str, words: Sequence[str]) -> bool:
  """Return whether a text contains one of some words or phrases.

  Only whole words count, in any case and in any Unicode form of a character;
  what separates the words of a phrase does not matter.
  """
  if not words:
    return False
  single, phrases = _prepared(tuple(words))
  found = _normal(text)
  if not single.isdisjoint(found):
    return True
  joined = f' {" ".join(found)} '
  return any(phrase in joined for phrase in phrases)


@functools.lru_cache(maxsize=4)
def _prepared(
  words: tuple[str, ...],
) -> tuple[frozenset[str], tuple[str, ...]]:
  """Return the single words, and the phrases between spaces."""
  normal = [_normal(word) for word in words]
  single = frozenset(parts[0] for parts in normal if len(parts) == 1)
  phrases = (f' {" ".join(parts)} ' for parts in normal if len(parts) > 1)
  return single, tuple(phrases)


def _normal(text: str) -> list[str]:
  return re.findall(r'\w+', unicodedata.normalize('NFKC', text).casefold())
