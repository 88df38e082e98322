"""Which earlier scenes of a story a scene is shown: the slots of its history.

Training data and the story sampler choose them by the same rule, from the texts
alone, so that a story that is continued or made again has the same slots.
"""

import collections
import functools
import re
from collections.abc import Sequence

_WORD = re.compile(r'[a-z0-9]+')
# A pronoun of a prompt shares a word with the scenes that name somebody, which
# are those without a pronoun.
_NAMES = '(names)'
_MEANINGS = {
  **dict.fromkeys(('he', 'him', 'his'), 'man'),
  **dict.fromkeys(('she', 'her', 'hers'), 'woman'),
  **dict.fromkeys(('it', 'its', 'they', 'them', 'their'), _NAMES),
}
# A story keeps the first frames of so many scenes for each slot.
_KEPT_PER_SLOT = 4


@functools.lru_cache(4096)
def _words(text: str, *, is_prompt: bool = False) -> dict[str, int]:
  """Return the place of each word of a text, from 1, the first one of each.

  Pronouns of a prompt also have the place of what they stand for.
  """
  places: dict[str, int] = {}
  found = _WORD.findall(text.lower())
  for place, word in enumerate(found, start=1):
    places.setdefault(word, place)
    if is_prompt and word in _MEANINGS:
      for meant in (_MEANINGS[word], _NAMES):
        places.setdefault(meant, place)
  if not is_prompt and not _MEANINGS.keys() & places.keys():
    places[_NAMES] = 1
  return places


def choose(texts: Sequence[str], prompt: str, slots: int) -> tuple[int, ...]:
  """Choose the scenes whose texts share most words with a prompt.

  A word counts the less the later it is in the prompt, which most often begins
  with whom it is about, and the more of the texts have it. A pronoun of the
  prompt also counts as a word that all texts without a pronoun have, and 'he'
  and 'she' as 'man' and 'woman', so that the scene is chosen that introduced
  the character. Of equal scenes, the later ones are chosen.

  Args:
    texts: prompt or caption of each earlier scene, in order.
    prompt: of the scene that is shown them.
    slots: how many scenes are chosen, if there are as many.

  Returns:
    Indices of `texts`, in ascending order.
  """
  counts = collections.Counter(word for text in texts for word in _words(text))
  places = _words(prompt, is_prompt=True)

  def score(index: int) -> tuple[float, int]:
    shared = [word for word in places if word in _words(texts[index])]
    weights = [1 / (places[word] * counts[word]) for word in shared]
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
    if len(last_used) > _KEPT_PER_SLOT * slots:
      # Of those of one time, the earlier scene.
      del last_used[min(last_used, key=lambda one: (last_used[one], one))]
  return tuple(chosen)
