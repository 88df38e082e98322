"""Draw random facts, positions and changes of facts within a subset."""

from typing import Any

import numpy as np

from phenaki_jax.errors import UserError
from phenaki_jax.storyworld import facts as facts_lib
from phenaki_jax.storyworld import heldout
from phenaki_jax.storyworld import scene as scene_lib
from phenaki_jax.storyworld import subset as subset_lib
from phenaki_jax.types import Split

# Relative probabilities of the facts that change between scenes of a story.
_CHANGE_WEIGHTS = {
  'motion': 0.35,
  'colour': 0.25,
  'place': 0.2,
  'size': 0.1,
  'shape': 0.1,
}
_TWO_CHANGES_SHARE = 0.4  # share of the changes that affect two facts
_SECOND_SHARE = 0.2  # share of the clips that have a second object
# Shares of the images with 0, 1 and 2 image-only values.
_IMAGE_ONLY_SHARES = (0.4, 0.45, 0.15)
_TRIES = 1000
_HIDE_SIZE = tuple(facts_lib.SIZE_AFTER)


def _pick(rng, choices):
  return choices[int(rng.integers(len(choices)))]


def _coordinate(rng, grid):
  return int(rng.integers(grid)) / grid if grid else float(rng.random())


def _with_final_size(facts):
  """Set the size of a growing or shrinking object to its final one."""
  size = facts_lib.SIZE_AFTER.get(facts.motion)
  return facts if size is None else facts.replace(size=size)


def _until_valid(draw, split, problem):
  """Call `draw` until it returns visible facts of the split.

  `draw` returns None instead of facts that it rejects. `problem` is the message
  of the UserError that is raised if no facts are found.
  """
  for _ in range(_TRIES):
    facts = draw()
    if facts is None:
      continue
    facts = _with_final_size(facts)
    if facts_lib.is_visible(facts) and heldout.in_split(facts, split):
      return facts
  raise UserError(problem)


def sample_facts(
  rng: np.random.Generator,
  subset: str | subset_lib.Subset,
  split: Split = 'train',
  *,
  image: bool = False,
) -> facts_lib.Facts:
  """Draw the facts of a clip or of an image.

  Args:
    rng: random generator.
    subset: a name or a `Subset`.
    split: 'train' (no held-out combination), 'heldout' (only those) or 'all'.
    image: draw the facts of an image, which has no motion and up to two
      image-only values; clips have none.

  Raises:
    UserError: the subset has no such combination.
  """
  subset = subset_lib.subset_named(subset)
  rare = [f for f in facts_lib.FACT_NAMES if subset.image_values(f)]

  def draw():
    found: dict[str, Any] = {'motion': None} if image else {}
    image_only: list[str] = []
    if image:
      count = int(rng.choice(len(_IMAGE_ONLY_SHARES), p=_IMAGE_ONLY_SHARES))
      image_only = list(rng.permutation(rare))[:count] if rare else []
    for name in facts_lib.FACT_NAMES:
      if name not in found:
        values = (
          subset.image_values if name in image_only else subset.clip_values
        )
        found[name] = _pick(rng, values(name))
    return facts_lib.Facts(**found)

  facts = _until_valid(
    draw,
    split,
    f'subset {subset.name!r} has no combinations in split {split!r}; use '
    'another split or a larger subset',
  )
  second = not image and subset.two_objects and rng.random() < _SECOND_SHARE
  # The main object must be clearly bigger than the second one.
  if second and facts.visible().get('size') == 'big':
    facts = facts.replace(
      second=facts_lib.SecondObject(
        shape=_pick(rng, subset.shapes),
        colour=_pick(rng, [c for c in subset.colours if c != facts.colour]),
      )
    )
  return facts


def sample_scene(
  rng: np.random.Generator,
  facts: facts_lib.Facts,
  subset: subset_lib.Subset,
) -> scene_lib.Scene:
  """Draw the position and the phase of a scene with the given facts."""
  x, y = _coordinate(rng, subset.grid), _coordinate(rng, subset.grid)
  return scene_lib.Scene(
    facts=facts,
    x=x,
    y=y,
    phase=float(rng.integers(48)),
    # A second object half a frame away in both dimensions never touches the
    # main one, which may move indefinitely along one of them.
    second_x=(x + 0.5) % 1,
    second_y=(y + 0.5) % 1,
  )


def sample_change(
  rng: np.random.Generator,
  facts: facts_lib.Facts,
  subset: subset_lib.Subset,
  split: Split = 'train',
) -> facts_lib.Facts:
  """Draw the facts of the next scene of a story, with one or two changes.

  The shape changes rarely and the style never, and a second object is dropped.
  The size changes only where it is visible in both scenes. The new facts belong
  to the split: 'train', 'heldout' or 'all'.

  Raises:
    UserError: no change is possible within the subset and the split.
  """
  facts = facts.replace(second=None)
  names = [n for n in _CHANGE_WEIGHTS if len(subset.clip_values(n)) > 1]
  if not names:
    raise UserError(
      f'subset {subset.name!r} has a single value of every fact, so nothing '
      'can change; add values'
    )
  weights = np.array([_CHANGE_WEIGHTS[n] for n in names])
  weights = weights / weights.sum()

  def draw():
    count = min(1 + int(rng.random() < _TWO_CHANGES_SHARE), len(names))
    picked = rng.choice(len(names), size=count, replace=False, p=weights)
    changed = facts
    for name in (names[i] for i in picked):
      values = subset.clip_values(name)
      others = [v for v in values if v != getattr(facts, name)]
      changed = changed.replace(**{name: _pick(rng, others)})
    shows_size = all('size' in f.visible() for f in (facts, changed))
    resized = facts.size != changed.size
    return None if resized and not shows_size else changed

  return _until_valid(
    draw,
    split,
    f'no change of {facts} stays in split {split!r} of subset '
    f'{subset.name!r}; use split "all" or a larger subset',
  )


def sample_move(
  rng: np.random.Generator,
  facts: facts_lib.Facts,
  subset: subset_lib.Subset,
  split: Split = 'train',
) -> facts_lib.Facts:
  """Draw another motion and place of the same object, which shows its size.

  At least one of the two is another one.

  Raises:
    UserError: there is none within the subset and the split.
  """
  motions = [
    one for one in subset.clip_values('motion') if one not in _HIDE_SIZE
  ]

  def draw():
    moved = facts.replace(
      motion=_pick(rng, motions), place=_pick(rng, subset.clip_values('place'))
    )
    return None if moved == facts else moved

  return _until_valid(
    draw,
    split,
    f'no other motion or place of {facts} stays in split {split!r} of subset '
    f'{subset.name!r}; use split "all" or a larger subset',
  )
