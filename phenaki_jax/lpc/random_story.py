"""Draw random clips, images and stories.

The result of a seed depends on the order of the draws and on the number of
choices of each draw. Changing either changes every data set.
"""

import random

from phenaki_jax.lpc import facts as facts_lib
from phenaki_jax.lpc import grammar, heldout
from phenaki_jax.lpc.sheets import CELL
from phenaki_jax.lpc.story import Scene, Story

_GRID = 16  # pixels between the positions where a character may start
# How often each of `facts.ACTIONS` is drawn, and the actions of stories.
_ACTION_WEIGHTS = (3, 3, 6, 3, 3, 1)
STORY_ACTIONS = ('cast', 'thrust', 'walk', 'walk', 'slash', 'shoot')
_PLAIN_SHARE = ('plain',) * 3
AWAY = 3  # scenes without a character that comes back
_PRONOUN_SHARE = 0.5  # of the characters whom a pronoun tells apart


def _values(fact, is_image):
  return facts_lib.VALUES[fact] if is_image else facts_lib.clip_values(fact)


def _character(rng, is_image, held_out):
  while True:
    drawn = {
      fact: rng.choice(_values(fact, is_image))
      for fact in ('kind', 'hair', 'hair_style', 'outfit', 'pants')
    }
    if heldout.is_drawn(drawn) == held_out:
      hidden = facts_lib.hidden_facts(drawn['kind'], drawn['outfit'])
      return {**drawn, **dict.fromkeys(hidden)}


def _direction(rng, action):
  return 'down' if action == 'fall' else rng.choice(facts_lib.DIRECTIONS)


def _facts(rng, is_image, held_out):
  character = _character(rng, is_image, held_out)
  (action,) = rng.choices(facts_lib.ACTIONS, _ACTION_WEIGHTS)
  direction = _direction(rng, action)
  place = rng.choice(_values('place', is_image))
  styles = _PLAIN_SHARE + facts_lib.IMAGE_ONLY['style']
  return facts_lib.Facts(
    **character,
    action=action,
    direction=direction,
    place=place,
    style=rng.choice(styles) if is_image else 'plain',
  )


def _start(rng, facts, size):
  """Draw a position on the grid.

  A walking character starts at the edge opposite to its direction.
  """
  most = size - CELL

  def free():
    return rng.randint(0, most // _GRID) * _GRID

  if facts.action != 'walk':
    return free(), free()
  # All four are drawn, so that the direction does not change later draws.
  starts = {
    'left': (most, free()),
    'right': (0, free()),
    'up': (free(), most),
    'down': (free(), 0),
  }
  return starts[facts.direction]


def _one_scene(facts, prompt, frames, start):
  scene = Scene(facts=facts, prompt=prompt, frames=frames)
  return Story(scenes=(scene,), x=start[0], y=start[1])


def sample_clip(
  rng: random.Random, *, size: int, held_out: bool = False
) -> Story:
  """Draw a clip of 9, 12 or 16 frames.

  Args:
    rng: random generator.
    size: side of the frames in pixels, at least 64.
    held_out: draw a held-out combination instead of another.

  Returns:
    A story of one scene.
  """
  facts = _facts(rng, False, held_out)
  frames = rng.choice((9, 12, 16))
  start = _start(rng, facts, size)
  return _one_scene(facts, grammar.caption(facts, rng), frames, start)


def sample_image(
  rng: random.Random, *, size: int, held_out: bool = False
) -> Story:
  """Draw an image, which is the last frame of a story of one scene.

  The arguments are those of `sample_clip`. Only images show the values of
  `facts.IMAGE_ONLY`.
  """
  facts = _facts(rng, True, held_out)
  frames = rng.randint(1, 6)
  start = _start(rng, facts, size)
  return _one_scene(facts, grammar.prompt(facts, rng), frames, start)


def sample_story(
  rng: random.Random,
  *,
  size: int,
  held_out: bool = False,
  scenes: int | None = None,
  new_places: float = 0.0,
) -> Story:
  """Draw a story, whose scenes have 11, 12 or 16 frames.

  The first prompt names all facts; later ones name the action and direction,
  and a new place. Nothing else changes.

  Args:
    rng: random generator.
    size: side of the frames in pixels, at least 64.
    held_out: draw a held-out combination instead of another.
    scenes: number of scenes; None draws 3 to 5.
    new_places: share of the later scenes at another place than the scene
      before, 0 to 1.
  """
  character = _character(rng, False, held_out)
  place = rng.choice(_values('place', False))
  drawn: list[Scene] = []
  for _ in range(scenes or rng.choice((3, 4, 5))):
    previous = drawn[-1].facts if drawn else None
    if previous and new_places and rng.random() < new_places:
      others = [one for one in _values('place', False) if one != place]
      place = rng.choice(others)
    action = rng.choice(STORY_ACTIONS)
    facts = facts_lib.Facts(
      **character,
      place=place,
      action=action,
      direction=_direction(rng, action),
    )
    frames = rng.choice((11, 12, 16))
    prompt = (
      grammar.continuation(facts, rng, previous=previous)
      if previous
      else grammar.prompt(facts, rng)
    )
    drawn.append(Scene(facts=facts, prompt=prompt, frames=frames))
  middle = (size - CELL) // 2 // _GRID * _GRID
  return Story(scenes=tuple(drawn), x=middle, y=middle)


def sample_return(
  rng: random.Random, *, size: int, held_out: bool = False
) -> Story:
  """Draw a story of five scenes, in the last of which a character is back.

  Another character, of another kind, acts in the three scenes before. The last
  prompt calls the first character by its pronoun, if the other one has another
  pronoun, or by its kind. All scenes are at one place.

  The arguments are those of `sample_clip`; both characters are held out, or
  neither.
  """
  first = _character(rng, False, held_out)
  other = _character(rng, False, held_out)
  while other['kind'] == first['kind']:
    other = _character(rng, False, held_out)
  place = rng.choice(_values('place', False))
  drawn: list[Scene] = []
  for number in range(AWAY + 2):
    is_first = number in (0, AWAY + 1)
    action = rng.choice(STORY_ACTIONS)
    facts = facts_lib.Facts(
      **(first if is_first else other),
      place=place,
      action=action,
      direction=_direction(rng, action),
    )
    if number < 2:
      prompt = grammar.prompt(facts, rng)
    elif not is_first:
      prompt = grammar.continuation(facts, rng)
    else:
      pronouns = {grammar.pronoun(one['kind']) for one in (first, other)}
      by_pronoun = len(pronouns) > 1 and rng.random() < _PRONOUN_SHARE
      prompt = grammar.comeback(facts, rng, by_pronoun=by_pronoun)
    frames = rng.choice((11, 12, 16))
    drawn.append(Scene(facts=facts, prompt=prompt, frames=frames))
  middle = (size - CELL) // 2 // _GRID * _GRID
  return Story(scenes=tuple(drawn), x=middle, y=middle)
