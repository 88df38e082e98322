"""Stories in which an object leaves for three scenes, and comes back.

The last scene names one of its facts, 'the circle is back' or 'the red one is
back'. The others were last seen, and named, several scenes before.
"""

import numpy as np

from phenaki_jax.errors import UserError
from phenaki_jax.storyworld import grammar, random_scene
from phenaki_jax.storyworld import subset as subset_lib
from phenaki_jax.storyworld.story import Story, StoryScene
from phenaki_jax.types import Split

AWAY = 3
"""Scenes in which another object is there."""

_TRIES = 1000
# Of the combinations of an object some may all be in the other split, so that
# it cannot move; another object can.
_STORIES = 50


def _other(rng, first, subset, split):
  """Draw an object of another shape and another colour."""
  for _ in range(_TRIES):
    facts = random_scene.sample_facts(rng, subset, split).replace(second=None)
    if facts.shape != first.shape and facts.colour != first.colour:
      return facts
  raise UserError(
    f'subset {subset.name!r} has no two objects that differ in shape and '
    'colour; add values'
  )


def sample_return(
  rng: np.random.Generator,
  subset: str | subset_lib.Subset,
  frames_per_scene: int,
  split: Split = 'train',
) -> Story:
  """Draw a story of five scenes, in the last of which the first object is back.

  Another object takes its place for three scenes, in which it moves and may
  change its place. The last prompt calls the first object by its shape or by
  its colour, and names its motion and its place.

  Args:
    rng: random generator.
    subset: a name or a `Subset`.
    frames_per_scene: at least 1.
    split: 'train', 'heldout' or 'all'.

  Raises:
    UserError: the subset has no such story.
  """
  subset = subset_lib.subset_named(subset)
  for _ in range(_STORIES - 1):
    try:
      return _sample(rng, subset, frames_per_scene, split)
    except UserError:
      continue
  return _sample(rng, subset, frames_per_scene, split)


def _sample(rng, subset, frames_per_scene, split):
  """Draw a story; raise a UserError if one of its objects cannot move."""
  first = random_scene.sample_facts(rng, subset, split).replace(second=None)
  start = random_scene.sample_scene(rng, first, subset)
  drawn = [(first, grammar.caption(first, rng, subset))]
  facts = _other(rng, first, subset, split)
  drawn.append((facts, grammar.caption(facts, rng, subset)))
  while len(drawn) < 1 + AWAY:
    previous = facts
    facts = random_scene.sample_move(rng, previous, subset, split)
    drawn.append((facts, grammar.continuation(previous, facts, rng)))
  back = random_scene.sample_move(rng, first, subset, split)
  by = ('shape', 'colour')[int(rng.integers(2))]
  drawn.append((back, grammar.comeback(back, rng, by=by)))
  scenes = tuple(
    StoryScene(facts=facts, prompt=prompt, frames=frames_per_scene)
    for facts, prompt in drawn
  )
  return Story(scenes=scenes, x=start.x, y=start.y, phase=start.phase)
