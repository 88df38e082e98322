"""Which earlier scenes of a story a scene is shown: the slots of its history.

Training data and the story sampler choose them by the same rule, from the texts
alone, so that a story that is continued or made again has the same slots.
"""

import collections
import functools
import re
from collections.abc import Sequence

_WORD = re.compile(r'[a-z0-9]+')
# What a pronoun may mean in a scene that names somebody, which is one without a
# pronoun: a noun of its own, and anybody whom no noun excludes. 'They' may mean
# anybody, of whom there may be several.
_NOUNS = {'he': 'man', 'she': 'woman'}
_PRONOUNS = {
  **dict.fromkeys(('he', 'him', 'his'), 'he'),
  **dict.fromkeys(('she', 'her', 'hers'), 'she'),
  **dict.fromkeys(('it', 'its'), 'it'),
  **dict.fromkeys(('they', 'them', 'their', 'theirs'), 'they'),
}
# A story keeps the first frames of so many scenes, or of one for each slot, if
# these are more.
_KEPT = 32


@functools.lru_cache(4096)
def _words(text: str) -> dict[str, int]:
  """Return the place of each word of a text, from 1, the first one of each.

  Pronouns are in brackets and in one form, as '(he)' of 'him'. Two texts with
  one do not share a word: it counts where `_told` adds it.
  """
  places: dict[str, int] = {}
  for place, word in enumerate(_WORD.findall(text.lower()), start=1):
    pronoun = _PRONOUNS.get(word)
    places.setdefault(f'({pronoun})' if pronoun else word, place)
  return places


@functools.lru_cache(4096)
def _told(text: str) -> dict[str, int]:
  """Return the words of an earlier scene, and pronouns of whom it names."""
  places = _words(text)
  names = {word: place for word, place in places.items() if word[0] != '('}
  if len(names) < len(places):
    return names
  nouns = {noun for noun in _NOUNS.values() if noun in places}
  names['(they)'] = 1
  for pronoun in ('he', 'she', 'it'):
    if not nouns or _NOUNS.get(pronoun) in nouns:
      names[f'({pronoun})'] = 1
  return names


def choose(texts: Sequence[str], prompt: str, slots: int) -> tuple[int, ...]:
  """Choose the scenes whose texts share most words with a prompt.

  A word counts the less the later it is in the prompt and in the text, which
  most often begin with whom they are about, and the more of the texts have it.
  A pronoun of the prompt counts as a word of the texts that name somebody whom
  it may mean, which have no pronoun themselves: 'he' not only of a man but of
  anybody who is not called a woman, and 'they' of all. So the scene is chosen
  that introduced the character. Of equal scenes, the later ones are chosen.

  Args:
    texts: prompt or caption of each earlier scene, in order.
    prompt: of the scene that is shown them.
    slots: how many scenes are chosen, if there are as many.

  Returns:
    Indices of `texts`, in ascending order.
  """
  told = [_told(text) for text in texts]
  counts = collections.Counter(word for words in told for word in words)
  asked = dict(_words(prompt))
  for pronoun, noun in _NOUNS.items():
    if (place := asked.get(f'({pronoun})')) is not None:
      asked.setdefault(noun, place)

  def score(index: int) -> tuple[float, int]:
    words = told[index]
    weights = [
      1 / (place * words[word] * counts[word])
      for word, place in asked.items()
      if word in words
    ]
    return sum(weights, 0.0), index

  return tuple(sorted(sorted(range(len(texts)), key=score)[-slots:]))


@functools.lru_cache(256)
def recalled(
  prompts: tuple[str, ...], slots: int
) -> tuple[tuple[int, ...], ...]:
  """Choose the earlier scenes that each scene of a story is shown.

  They are chosen among a fixed number of scenes: where there are more, the one
  that was neither made nor chosen for the longest time is forgotten. The choice
  of a scene depends on no later prompt, so that a story can be extended.

  Args:
    prompts: prompt of each scene.
    slots: scenes that one scene is shown; 0 for none.

  Returns:
    Numbers of the chosen scenes of each scene, in ascending order.
  """
  if not slots:
    return ((),) * len(prompts)
  last_used: dict[int, int] = {}
  chosen = []
  for number, prompt in enumerate(prompts):
    kept = sorted(last_used)
    places = choose([prompts[one] for one in kept], prompt, slots)
    chosen.append(tuple(kept[place] for place in places))
    last_used.update(dict.fromkeys([*chosen[-1], number], number))
    if len(last_used) > max(_KEPT, slots):
      # Of those of one time, the earlier scene.
      del last_used[min(last_used, key=lambda one: (last_used[one], one))]
  return tuple(chosen)
