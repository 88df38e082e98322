"""Captions of scenes: from facts to words and back."""

import functools
import re

import numpy as np

from phenaki_jax.errors import UserError
from phenaki_jax.storyworld import facts as facts_lib
from phenaki_jax.storyworld import phrases
from phenaki_jax.storyworld import subset as subset_lib

_WORD = re.compile(r'[a-z0-9]+|,')


def article(noun: str) -> str:
  """Return a noun phrase with 'a' or 'an' before it."""
  return ('an ' if noun[0] in 'aeiou' else 'a ') + noun


class _First:
  """Choose the first of all choices: the canonical phrasing."""

  def pick(self, choices):
    return choices[0]

  def chance(self, share):
    return False


class _Drawn:
  """Choose by a generator."""

  def __init__(self, rng):
    self._rng = rng

  def pick(self, choices):
    return choices[int(self._rng.integers(len(choices)))]

  def chance(self, share):
    return bool(self._rng.random() < share)


def _names_size(subset, motion):
  shown = subset is None or subset_lib.subset_named(subset).names_size()
  return shown and facts_lib.size_is_visible(motion)


def _object(facts, subset, chooser):
  words = [facts.colour, chooser.pick(phrases.SHAPE_NOUNS[facts.shape])]
  if _names_size(subset, facts.motion):
    words.insert(0, facts.size)
  return article(' '.join(words))


def _full(facts, subset, chooser):
  text = chooser.pick(phrases.STYLE_PREFIXES[facts.style])
  text += _object(facts, subset, chooser)
  place = chooser.pick(phrases.PLACE_PHRASES[facts.place])
  if facts.motion is not None:
    if chooser.chance(0.25):
      text += ' ' + phrases.MOTION_PARTICIPLES[facts.motion]
    else:
      text += ' ' + chooser.pick(phrases.MOTION_VERBS[facts.motion])
  if chooser.chance(0.2):
    text = f'{place}, {text}'
  else:
    text = f'{text} {place}'
  if facts.second is not None:
    noun = phrases.SHAPE_NOUNS[facts.second.shape][0]
    text += f' and {article(facts.second.colour + " " + noun)}'
  return text


def full_prompt(
  facts: facts_lib.Facts,
  subset: str | subset_lib.Subset | None = None,
) -> str:
  """Return the canonical prompt that names all the facts.

  Lower case, with no punctuation but commas, at most 20 words. Motion None
  (a picture) is not mentioned, nor is size where `subset` has only one or
  the motion hides it; with no subset size is named.
  """
  return _full(facts, subset, _First())


def caption(
  facts: facts_lib.Facts,
  rng: np.random.Generator,
  subset: str | subset_lib.Subset | None = None,
) -> str:
  """Return a prompt that names all the facts, its phrasing drawn by `rng`."""
  return _full(facts, subset, _Drawn(rng))


def changed_facts(
  previous: facts_lib.Facts, facts: facts_lib.Facts
) -> tuple[str, ...]:
  """Return the names of the facts that differ and can be seen to."""
  found = []
  for fact in facts_lib.FACT_NAMES:
    if fact == 'size' and not facts_lib.size_is_visible(facts.motion):
      continue
    if getattr(previous, fact) != getattr(facts, fact):
      found.append(fact)
  return tuple(found)


def _motion_clause(previous, facts, chooser):
  motion = facts.motion
  if previous.motion != motion:
    if motion == 'still' and chooser.chance(0.5):
      return chooser.pick(phrases.STOPS)
    return chooser.pick(phrases.MOTION_VERBS[motion])
  if motion == 'still':
    return phrases.MOTION_VERBS[motion][0]
  if chooser.chance(0.3):
    return chooser.pick(phrases.MOTION_VERBS[motion])
  form = chooser.pick(phrases.CONTINUERS)
  return form.format(phrases.MOTION_PARTICIPLES[motion])


def _continue(previous, facts, chooser):
  if facts.motion is None:
    raise UserError(
      'a continuation needs a motion; a picture (motion None) has none'
    )
  changed = changed_facts(previous, facts)
  clauses = []
  for fact in ('size', 'colour', 'shape'):
    if fact in changed:
      value = getattr(facts, fact)
      if fact == 'shape':
        value = article(chooser.pick(phrases.SHAPE_NOUNS[value]))
      clauses.append(chooser.pick(phrases.BECOMES[fact]).format(value))
  if 'style' in changed:
    clauses.append(chooser.pick(phrases.STYLE_CHANGES[facts.style]))
  clauses.append(_motion_clause(previous, facts, chooser))
  text = clauses.pop()
  if clauses:
    text = ', '.join(clauses) + ' and ' + text
  if 'place' not in changed:
    return 'it ' + text
  place = chooser.pick(phrases.PLACE_PHRASES[facts.place])
  if chooser.chance(0.5):
    return f'now it is {place} and {text}'
  return f'it {text}, now {place}'


def continuation(
  previous: facts_lib.Facts,
  facts: facts_lib.Facts,
  rng: np.random.Generator | None = None,
) -> str:
  """Return a later prompt of a story: 'it turns blue and moves left'.

  The object is named by 'it' alone, every fact that has changed is said and
  so is the motion, changed or not.

  Args:
    previous: facts of the scene before.
    facts: facts of this scene.
    rng: draws the phrasing; None gives the canonical one.
  """
  chooser = _First() if rng is None else _Drawn(rng)
  return _continue(previous, facts, chooser)


@functools.lru_cache(maxsize=1)
def _lexicon():
  return phrases.lexicon(facts_lib.COLOURS, facts_lib.SIZES)


def _read_words(words):
  """Return (fact, value, first word, last word + 1), longest phrases first."""
  entries = _lexicon()
  longest = max(len(phrase) for phrase in entries)
  found, start = [], 0
  while start < len(words):
    for length in range(longest, 0, -1):
      entry = entries.get(tuple(words[start : start + length]))
      if entry is not None:
        found.append((*entry, start, start + length))
        start += length
        break
    else:
      start += 1
  return found


def parse(prompt: str) -> dict[str, str | facts_lib.SecondObject]:
  """Return the facts a prompt names, by name.

  It undoes `caption`, `full_prompt` and `continuation` and reads most plain
  sentences like theirs. A prompt that names its object ('a red circle ...')
  and no style has the style 'plain'; one that says 'it' names only what it
  says. 'second' holds the second object, where there is one. Words it does
  not know are passed over.
  """
  words = _WORD.findall(prompt.lower())
  named: dict[str, str | facts_lib.SecondObject] = {}
  colour_end = {}
  for fact, value, start, stop in _read_words(words):
    if fact == 'colour':
      colour_end[stop] = value
    if fact == 'shape' and 'shape' in named and start in colour_end:
      named['second'] = facts_lib.SecondObject(
        shape=value, colour=colour_end[start]
      )
    elif fact == 'colour' and 'colour' in named:
      continue  # The colour of the second object.
    else:
      named[fact] = value
  if 'it' not in words and 'shape' in named:
    named.setdefault('style', 'plain')
  return named
