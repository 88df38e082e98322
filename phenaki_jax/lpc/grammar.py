"""Captions of scenes: write facts as text and parse them again."""

import functools
import random
import re
from collections.abc import Sequence

from phenaki_jax.lpc import facts as facts_lib

_VERBS = {
  'cast': ('casts a spell', 'waves a wand'),
  'thrust': ('thrusts a spear',),
  'walk': ('walks',),
  'slash': ('swings a dagger',),
  'shoot': ('draws a bow', 'shoots an arrow'),
  'fall': ('falls to the ground',),
}
# How a direction is named after 'walks', and after 'facing'.
_DIRECTIONS = {
  'up': ('away from the camera', 'away'),
  'left': ('to the left', 'left'),
  'down': ('towards the camera', 'the camera'),
  'right': ('to the right', 'right'),
}
_PLACES = {
  'grass': 'on the grass',
  'sand': 'on the sand',
  'stone': 'on stone',
  'night': 'at night',
  'water': 'by the water',
  'snow': 'in the snow',
}
# The captions of clips. The plain one occurs twice, so half of them are plain.
_CAPTIONS = (
  '{who} {does} {where}',
  '{where}, {who} {does}',
  'video game character: {who} {does} {where}',
  '{who} {does} {where}',
)
_PRONOUNS = {'man': 'he', 'woman': 'she'}


def _pick(rng: random.Random | None, choices: Sequence[str]) -> str:
  """Draw one of `choices`; without a generator, take the first."""
  return choices[0] if rng is None else rng.choice(choices)


def describe(facts: facts_lib.Facts) -> str:
  """Name the character: 'a man with long red hair in chain mail and ...'."""
  text = f'{"an" if facts.kind == "orc" else "a"} {facts.kind}'
  if facts.hair is not None:
    text += f' with {facts.hair_style} {facts.hair} hair'
  shirt = ('a ', ' shirt') if facts.outfit in facts_lib.SHIRTS else ('', '')
  text += f' in {facts.outfit.join(shirt)}'
  return text if facts.pants is None else f'{text} and {facts.pants} pants'


def _does(facts, rng):
  verb = _pick(rng, _VERBS[facts.action])
  walking, facing = _DIRECTIONS[facts.direction]
  if facts.action == 'fall':
    return verb
  return f'{verb} {walking if facts.action == "walk" else f"facing {facing}"}'


def prompt(facts: facts_lib.Facts, rng: random.Random | None = None) -> str:
  """Write a sentence in lower case that names all the facts.

  Args:
    facts: what to describe.
    rng: draws the verb; None takes the first one.
  """
  style = '' if facts.style == 'plain' else f'a {facts.style} of '
  where = _PLACES[facts.place]
  return f'{style}{describe(facts)} {_does(facts, rng)} {where}'


def caption(facts: facts_lib.Facts, rng: random.Random) -> str:
  """Write the caption of a clip: a sentence in one of several forms."""
  text = rng.choice(_CAPTIONS).format(
    who=describe(facts), does=_does(facts, rng), where=_PLACES[facts.place]
  )
  return text[0].upper() + text[1:] + rng.choice(('', '.'))


def continuation(
  facts: facts_lib.Facts,
  rng: random.Random | None = None,
  *,
  previous: facts_lib.Facts | None = None,
) -> str:
  """Write the prompt of a later scene of a story: 'she walks to the left'.

  It names the action and the direction, and a new place: 'she walks to the
  left, now in the snow'. The other facts persist.

  Args:
    facts: facts of the scene.
    rng: draws the verb; None takes the first one.
    previous: facts of the scene before; None if its place is the same.
  """
  text = f'{pronoun(facts.kind)} {_does(facts, rng)}'
  if previous is None or previous.place == facts.place:
    return text
  return f'{text}, now {_PLACES[facts.place]}'


def pronoun(kind: str) -> str:
  """Return the pronoun of a kind: 'he', 'she' or 'it'."""
  return _PRONOUNS.get(kind.split()[-1], 'it')


def comeback(
  facts: facts_lib.Facts,
  rng: random.Random | None = None,
  *,
  by_pronoun: bool = True,
) -> str:
  """Write the prompt of a scene in which an earlier character is back.

  It names the action, the direction and the place, and the character by its
  pronoun or its kind alone: 'she is back and walks to the left on the grass'.

  Args:
    facts: facts of the scene.
    rng: draws the verb; None takes the first one.
    by_pronoun: whether to name the pronoun instead of the kind.
  """
  who = pronoun(facts.kind) if by_pronoun else f'the {facts.kind}'
  return f'{who} is back and {_does(facts, rng)} {_PLACES[facts.place]}'


@functools.cache
def _lexicon() -> dict[str, tuple[str, str]]:
  """Map every phrase to the (fact, value) that it names."""
  entries = {}

  def add(fact, value, *phrases):
    entries.update(dict.fromkeys(phrases, (fact, value)))

  for fact in ('kind', 'hair_style', 'place', 'style'):
    for value in facts_lib.VALUES[fact]:
      add(fact, value, value)
  for fact, noun in (('hair', 'hair'), ('outfit', 'shirt'), ('pants', 'pants')):
    for value in facts_lib.VALUES[fact]:
      is_armour = value in facts_lib.ARMOURS
      add(fact, value, value if is_armour else f'{value} {noun}')
  for action, verbs in _VERBS.items():
    add('action', action, *verbs)
  for direction, phrases in _DIRECTIONS.items():
    add('direction', direction, *phrases)
  return entries


@functools.cache
def _pattern() -> re.Pattern[str]:
  # The longest phrase first: 'dark-skinned man' before 'man'.
  phrases = sorted(_lexicon(), key=len, reverse=True)
  return re.compile(rf'\b(?:{"|".join(map(re.escape, phrases))})\b')


def parse(prompt: str) -> dict[str, str]:
  """Parse the facts that a prompt names.

  This inverts `prompt`, `caption` and `continuation`, and ignores other words.

  Args:
    prompt: the text.

  Returns:
    The named values by fact. A fall has the direction 'down', and a prompt that
    names a kind but no style has the style 'plain'.
  """
  words = ' '.join(prompt.lower().split())
  named = dict(_lexicon()[phrase] for phrase in _pattern().findall(words))
  if named.get('action') == 'fall':
    named['direction'] = 'down'
  if 'kind' in named:
    named.setdefault('style', 'plain')
  return named
