"""Captions of scenes: write facts as text and parse them again."""

import re

import numpy as np

from phenaki_jax.storyworld import facts as facts_lib
from phenaki_jax.storyworld import phrases
from phenaki_jax.storyworld import subset as subset_lib

_WORD = re.compile(r'[a-z0-9]+|,')


def _article(noun: str) -> str:
  """Return a noun phrase with its article, 'a' or 'an'."""
  return ('an ' if noun[0] in 'aeiou' else 'a ') + noun


def _pick(rng, choices):
  """Draw one of `choices`; without a generator, take the first."""
  return choices[0 if rng is None else int(rng.integers(len(choices)))]


def _chance(rng, share):
  """Return True with probability `share`; without a generator, never."""
  return rng is not None and bool(rng.random() < share)


def caption(
  facts: facts_lib.Facts,
  rng: np.random.Generator | None = None,
  subset: str | subset_lib.Subset | None = None,
) -> str:
  """Write a caption that names all the facts.

  It is in lower case, without punctuation but commas, and of at most 24 words.
  The motion is not mentioned where it is None, and the size neither where the
  motion hides it nor where the subset has only one.

  Args:
    facts: what to describe.
    rng: draws the phrasing; None gives the canonical one.
    subset: a name or a `Subset`; with None, the size is named.
  """
  text = _pick(rng, phrases.STYLE_PREFIXES[facts.style])
  words = f'{facts.colour} {facts.shape}'
  sizes: tuple[str, ...] = facts_lib.SIZES
  if subset is not None:
    sizes = subset_lib.subset_named(subset).values('size')
  if len(sizes) > 1 and facts_lib.size_is_visible(facts.motion):
    words = f'{facts.size} {words}'
  text += _article(words)
  place = _pick(rng, phrases.PLACE_PHRASES[facts.place])
  if facts.motion is not None:
    if _chance(rng, 0.25):
      text += ' ' + phrases.MOTION_PARTICIPLES[facts.motion]
    else:
      text += ' ' + _pick(rng, phrases.MOTION_VERBS[facts.motion])
  text = f'{place}, {text}' if _chance(rng, 0.2) else f'{text} {place}'
  if facts.second is not None:
    text += f' and {_article(f"{facts.second.colour} {facts.second.shape}")}'
  return text


def changed_facts(
  previous: facts_lib.Facts, facts: facts_lib.Facts
) -> tuple[str, ...]:
  """Return the names of the facts that differ visibly."""
  found = []
  for fact in facts_lib.FACT_NAMES:
    if fact == 'size' and not facts_lib.size_is_visible(facts.motion):
      continue
    if getattr(previous, fact) != getattr(facts, fact):
      found.append(fact)
  return tuple(found)


def _motion_clause(previous, facts, rng):
  motion = facts.motion
  if previous.motion != motion:
    if motion == 'still' and _chance(rng, 0.5):
      return _pick(rng, phrases.STOPS)
    return _pick(rng, phrases.MOTION_VERBS[motion])
  if motion == 'still':
    return phrases.MOTION_VERBS[motion][0]
  if _chance(rng, 0.3):
    return _pick(rng, phrases.MOTION_VERBS[motion])
  form = _pick(rng, phrases.CONTINUERS)
  return form.format(phrases.MOTION_PARTICIPLES[motion])


def continuation(
  previous: facts_lib.Facts,
  facts: facts_lib.Facts,
  rng: np.random.Generator | None = None,
) -> str:
  """Write the caption of a later scene: 'it turns blue and moves left'.

  The object is called 'it'. Every changed fact is named, and so is the motion,
  changed or not.

  Args:
    previous: facts of the previous scene.
    facts: facts of this scene.
    rng: draws the phrasing; None gives the canonical one.

  Raises:
    ValueError: the motion is None, as in an image.
  """
  if facts.motion is None:
    raise ValueError('a continuation needs a motion, and an image has none')
  changed = changed_facts(previous, facts)
  clauses = []
  for fact in ('size', 'colour', 'shape'):
    if fact in changed:
      value = getattr(facts, fact)
      form = _pick(rng, phrases.BECOMES[fact])
      clauses.append(form.format(_article(value) if fact == 'shape' else value))
  if 'style' in changed:
    clauses.append(phrases.STYLE_CHANGES[facts.style])
  text = _motion_clause(previous, facts, rng)
  if clauses:
    text = ', '.join(clauses) + ' and ' + text
  if 'place' not in changed:
    return 'it ' + text
  place = _pick(rng, phrases.PLACE_PHRASES[facts.place])
  if _chance(rng, 0.5):
    return f'now it is {place} and {text}'
  return f'it {text}, now {place}'


def _read_words(words):
  """Find phrases as (fact, value, start, stop); the longest one wins."""
  entries = phrases.lexicon()
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
  """Parse the facts that a prompt names.

  This inverts `caption` and `continuation` and understands most plain sentences
  of that kind. Unknown words are ignored.

  Args:
    prompt: the text.

  Returns:
    The named values by fact, and the second object, if any, as 'second'. A
    prompt that names a shape but no style, and does not say 'it', has the style
    'plain'.
  """
  words = _WORD.findall(prompt.lower())
  named: dict[str, str | facts_lib.SecondObject] = {}
  colours = {}  # by the position of the word after the colour
  for fact, value, start, stop in _read_words(words):
    if fact == 'colour':
      colours[stop] = value
    if fact == 'shape' and 'shape' in named and start in colours:
      named['second'] = facts_lib.SecondObject(
        shape=value, colour=colours[start]
      )
    elif fact == 'colour' and 'colour' in named:
      continue  # The colour of the second object.
    else:
      named[fact] = value
  if 'it' not in words and 'shape' in named:
    named.setdefault('style', 'plain')
  return named
