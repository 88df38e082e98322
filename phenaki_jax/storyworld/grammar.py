"""Captions of scenes: write facts as text and parse them again."""

import re

import numpy as np

from phenaki_jax.storyworld import facts as facts_lib
from phenaki_jax.storyworld import phrases
from phenaki_jax.storyworld import subset as subset_lib

_WORD = re.compile(r'[a-z0-9]+|,')


def _with_article(noun: str) -> str:
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

  It is in lower case, has at most 24 words and no punctuation but commas. A
  motion of None is not mentioned, nor is a size that the motion hides or that
  is the only one of the subset.

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
  if len(sizes) > 1 and 'size' in facts.visible():
    words = f'{facts.size} {words}'
  text += _with_article(words)
  place = _pick(rng, phrases.PLACE_PHRASES[facts.place])
  if facts.motion is not None:
    if _chance(rng, 0.25):
      text += ' ' + phrases.MOTION_PARTICIPLES[facts.motion]
    else:
      text += ' ' + _pick(rng, phrases.MOTION_VERBS[facts.motion])
  text = f'{place}, {text}' if _chance(rng, 0.2) else f'{text} {place}'
  if facts.second is not None:
    words = f'{facts.second.colour} {facts.second.shape}'
    text += f' and {_with_article(words)}'
  return text


def changed_facts(
  previous: facts_lib.Facts, facts: facts_lib.Facts
) -> tuple[str, ...]:
  """Return the names of the facts that differ visibly."""
  visible = facts.visible().items()
  return tuple(fact for fact, v in visible if v != getattr(previous, fact))


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
  *,
  repeats_motion: bool = True,
) -> str:
  """Write the caption of a later scene: 'it turns blue and moves left'.

  The object is called 'it'. The changed facts and the motion are named.

  Args:
    previous: facts of the scene before.
    facts: facts of the scene.
    rng: draws the phrasing; None gives the canonical one.
    repeats_motion: name also a motion that goes on. Otherwise the caption says
      only what changes: 'it turns blue', 'now at night'.

  Raises:
    ValueError: the motion is None, as in an image.
  """
  if facts.motion is None:
    raise ValueError('a continuation needs a motion, and an image has none')
  changed = changed_facts(previous, facts)
  names = {'size': facts.size, 'colour': facts.colour}
  names['shape'] = _with_article(facts.shape)
  clauses = [
    _pick(rng, phrases.BECOMES[fact]).format(name)
    for fact, name in names.items()
    if fact in changed
  ]
  if 'style' in changed:
    clauses.append(phrases.STYLE_CHANGES[facts.style])
  text = ', '.join(clauses)
  if repeats_motion or 'motion' in changed or not changed:
    motion = _motion_clause(previous, facts, rng)
    text = f'{text} and {motion}' if clauses else motion
  if 'place' not in changed:
    return 'it ' + text
  place = _pick(rng, phrases.PLACE_PHRASES[facts.place])
  if not text:
    return f'now {place}'
  if _chance(rng, 0.5):
    return f'now it is {place} and {text}'
  return f'it {text}, now {place}'


def comeback(
  facts: facts_lib.Facts,
  rng: np.random.Generator | None = None,
  *,
  by: str = 'shape',
) -> str:
  """Write the prompt of a scene in which an earlier object is back.

  It names one fact of the object, its motion and its place: 'the circle is
  back, it moves left on grass'.

  Args:
    facts: facts of the scene, which is no image.
    rng: draws the phrasing; None gives the canonical one.
    by: the fact that the object is called by, 'shape' or 'colour'.
  """
  assert facts.motion is not None, 'an image has no motion'
  name = facts.shape if by == 'shape' else f'{facts.colour} one'
  motion = _pick(rng, phrases.MOTION_VERBS[facts.motion])
  place = _pick(rng, phrases.PLACE_PHRASES[facts.place])
  return f'the {name} is back, it {motion} {place}'


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
