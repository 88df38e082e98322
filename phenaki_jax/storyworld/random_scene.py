"""Draw random facts, positions and changes of facts within a subset."""

import dataclasses

import numpy as np

from phenaki_jax.errors import UserError
from phenaki_jax.storyworld import facts as facts_lib
from phenaki_jax.storyworld import heldout
from phenaki_jax.storyworld import scene as scene_lib
from phenaki_jax.storyworld import subset as subset_lib

# Relative probabilities of the facts that change between scenes of a story.
_CHANGE_WEIGHTS = {
  'motion': 0.35,
  'colour': 0.25,
  'place': 0.2,
  'size': 0.1,
  'shape': 0.1,
}
_TWO_CHANGES = 0.4  # of the changes, those of two facts
_SECOND_SHARE = 0.2  # of the clips, those with a second object
# Shares of the images with 0, 1 and 2 image-only values.
_IMAGE_ONLY_SHARES = (0.4, 0.45, 0.15)
_TRIES = 1000


def _pick(rng, choices):
  return choices[int(rng.integers(len(choices)))]


def _coordinate(rng, grid):
  return int(rng.integers(grid)) / grid if grid else float(rng.random())


def _with_final_size(facts):
  """Set the size of a growing or shrinking object to its final one."""
  size = facts_lib.SIZE_AFTER.get(facts.motion)
  return facts if size is None else facts.replace(size=size)


def _until_valid(draw, subset, split):
  """Draw facts until all are visible and they belong to the split."""
  for _ in range(_TRIES):
    facts = _with_final_size(draw())
    if facts_lib.is_visible(facts) and heldout.in_split(facts, split):
      return facts
  raise UserError(
    f'subset {subset.name!r} has no combinations in split {split!r}; use '
    'another split or a larger subset'
  )


def sample_facts(
  rng: np.random.Generator,
  subset: str | subset_lib.Subset,
  split: str = 'train',
) -> facts_lib.Facts:
  """Draw the facts of a clip, without image-only values.

  Args:
    rng: random generator.
    subset: a name or a `Subset`.
    split: 'train' (no held-out combination), 'heldout' (only those) or 'all'.

  Raises:
    UserError: the split is unknown, or the subset has no such combination.
  """
  subset = subset_lib.subset_named(subset)

  def draw():
    return facts_lib.Facts(
      **{
        name: _pick(rng, subset.clip_values(name))
        for name in facts_lib.FACT_NAMES
      }
    )

  facts = _until_valid(draw, subset, split)
  second = subset.two_objects and rng.random() < _SECOND_SHARE
  # The main object must be clearly bigger than the second one.
  if second and facts.size == 'big' and facts_lib.size_is_visible(facts.motion):
    facts = facts.replace(
      second=facts_lib.SecondObject(
        shape=_pick(rng, subset.shapes),
        colour=_pick(rng, [c for c in subset.colours if c != facts.colour]),
      )
    )
  return facts


def sample_image_facts(
  rng: np.random.Generator,
  subset: str | subset_lib.Subset,
  split: str = 'train',
) -> facts_lib.Facts:
  """Draw the facts of an image: motion None, up to two image-only values.

  Arguments and errors are those of `sample_facts`.
  """
  subset = subset_lib.subset_named(subset)
  rare = [f for f in facts_lib.FACT_NAMES if subset.image_values(f)]

  def draw():
    count = int(rng.choice(len(_IMAGE_ONLY_SHARES), p=_IMAGE_ONLY_SHARES))
    order = [str(f) for f in rng.permutation(rare)] if rare else []
    chosen = set(order[:count])
    return facts_lib.Facts(
      motion=None,
      **{
        name: _pick(
          rng,
          subset.image_values(name)
          if name in chosen
          else subset.clip_values(name),
        )
        for name in facts_lib.FACT_NAMES
        if name != 'motion'
      },
    )

  return _until_valid(draw, subset, split)


def sample_scene(
  rng: np.random.Generator,
  facts: facts_lib.Facts,
  subset: str | subset_lib.Subset,
) -> scene_lib.Scene:
  """Draw the position and the phase of a scene with the given facts."""
  subset = subset_lib.subset_named(subset)
  scene = scene_lib.Scene(
    facts=facts,
    x=_coordinate(rng, subset.grid),
    y=_coordinate(rng, subset.grid),
    phase=float(rng.integers(48)),
  )
  # A second object half a frame away in both dimensions never touches the main
  # one, however long that moves straight on.
  return dataclasses.replace(
    scene, second_x=(scene.x + 0.5) % 1, second_y=(scene.y + 0.5) % 1
  )


def _changed(rng, facts, subset, names):
  for name in names:
    others = [v for v in subset.clip_values(name) if v != getattr(facts, name)]
    facts = facts.replace(**{name: _pick(rng, others)})
  return _with_final_size(facts)


def sample_change(
  rng: np.random.Generator,
  facts: facts_lib.Facts,
  subset: str | subset_lib.Subset,
  split: str = 'train',
) -> facts_lib.Facts:
  """Draw the facts of the next scene of a story, with one or two changes.

  The shape changes rarely and the style never, and a second object is dropped.
  The size changes only where it is visible in both scenes.

  Args:
    rng: random generator.
    facts: facts of the previous scene.
    subset: a name or a `Subset`.
    split: 'train', 'heldout' or 'all'; the new facts belong to it.

  Raises:
    UserError: no change is possible within the subset and the split.
  """
  subset = subset_lib.subset_named(subset)
  facts = facts.replace(second=None)
  names = [n for n in _CHANGE_WEIGHTS if len(subset.clip_values(n)) > 1]
  if not names:
    raise UserError(
      f'subset {subset.name!r} has a single value of every fact, so nothing '
      'can change; add values'
    )
  weights = np.array([_CHANGE_WEIGHTS[n] for n in names])
  weights = weights / weights.sum()
  for _ in range(_TRIES):
    count = min(1 + int(rng.random() < _TWO_CHANGES), len(names))
    picked = rng.choice(len(names), size=count, replace=False, p=weights)
    found = _changed(rng, facts, subset, [names[i] for i in picked])
    if 'size' in (names[i] for i in picked) and not (
      facts_lib.size_is_visible(facts.motion)
      and facts_lib.size_is_visible(found.motion)
    ):
      continue
    if facts_lib.is_visible(found) and heldout.in_split(found, split):
      return found
  raise UserError(
    f'no change of {facts} stays in split {split!r} of subset '
    f'{subset.name!r}; use split "all" or a larger subset'
  )
