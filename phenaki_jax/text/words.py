"""The words of the training captions, and those of a prompt that they lack.

A vocabulary turns any text into token ids, so it does not show which words a
model has learned. The words of the captions do.
"""

import collections
import dataclasses
import difflib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping

from phenaki_jax.errors import UserError

_SIMILAR = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Words:
  """The words of some captions.

  Attributes:
    counts: how often each word appears, the most frequent first.
    captions: number of captions that were counted.
  """

  counts: Mapping[str, int]
  captions: int

  @classmethod
  def count(cls, captions: Iterable[str]) -> 'Words':
    """Count the words of captions; empty captions are ignored."""
    counter: collections.Counter[str] = collections.Counter()
    number = 0
    for caption in captions:
      words = split_words(caption)
      counter.update(words)
      number += bool(words)
    return cls(counts=_ordered(counter), captions=number)

  @classmethod
  def from_json(cls, content: bytes) -> 'Words':
    """Read what `to_json` wrote.

    Raises:
      UserError: it is not JSON of that form.
    """
    try:
      values = json.loads(content)
      counts = {str(word): int(n) for word, n in values['counts'].items()}
      return cls(counts=counts, captions=int(values['captions']))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
      raise UserError(f'it holds no counts of words: {error!r}') from error

  def joined(self, other: 'Words') -> 'Words':
    """Return the words of the captions of both."""
    counter = collections.Counter(self.counts) + collections.Counter(
      other.counts
    )
    return Words(
      counts=_ordered(counter), captions=self.captions + other.captions
    )

  def to_json(self) -> bytes:
    """Return the words as JSON, one word per line."""
    text = json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False)
    return f'{text}\n'.encode()

  def unknown(self, text: str) -> dict[str, list[str]]:
    """Return the words of a text that no caption had, in order.

    Returns:
      For each such word, up to two words of the captions with a similar
      spelling.
    """
    return {
      word: self._similar(word)
      for word in split_words(text)
      if word not in self.counts
    }

  def _similar(self, word: str) -> list[str]:
    """Return known words of similar spelling: other forms, or corrections."""
    related = [known for known in self.counts if known[0] == word[0]]
    return difflib.get_close_matches(
      word, related, n=_SIMILAR, cutoff=0.7
    ) or difflib.get_close_matches(word, self.counts, n=1, cutoff=0.8)


def _ordered(counts: Mapping[str, int]) -> dict[str, int]:
  """Return counts, the highest first."""
  return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def split_words(text: str) -> list[str]:
  """Split a text into words, normalised as a vocabulary normalises them.

  A word is a run of letters, marks and digits, which may contain apostrophes,
  or a run of symbols such as an emoji. Punctuation separates words. Scripts
  that are written without spaces give long words.
  """
  folded = unicodedata.normalize('NFKC', text).casefold().replace('’', "'")
  kinds = ''.join(_kind(character) for character in folded)
  return [
    folded[match.start() : match.end()]
    for match in re.finditer("[LJ]*L[LJ]*(?:'[LJ]*L[LJ]*)*|[SJ]*S[SJ]*", kinds)
  ]


def _kind(character: str) -> str:
  """Return L for a letter, S for a symbol, J for a mark that joins them."""
  if character == "'":
    return "'"
  match unicodedata.category(character):
    case 'Mn' | 'Mc' | 'Me' | 'Cf':
      return 'J'
    case 'Ll' | 'Lu' | 'Lt' | 'Lm' | 'Lo' | 'Nd' | 'Nl' | 'No':
      return 'L'
    case 'Sm' | 'Sc' | 'Sk' | 'So' | 'Cn' | 'Co':
      return 'S'
  return ' '
