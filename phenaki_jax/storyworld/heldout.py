"""The combinations that no training example shows."""

import functools
import hashlib

from phenaki_jax.storyworld import facts as facts_lib
from phenaki_jax.storyworld import subset as subset_lib

SPLITS = ('train', 'heldout', 'all')
_SALT = 'storyworld-0'
_ONE_IN = 10


def is_held_out(facts: facts_lib.Facts) -> bool:
  """Say whether the shape, colour and motion together are held out.

  About one combination in ten is, by a hash that is the same everywhere.
  Pictures (motion None) have combinations of their own.
  """
  key = f'{_SALT}|{facts.shape}|{facts.colour}|{facts.motion}'
  digest = hashlib.sha256(key.encode()).digest()
  return int.from_bytes(digest[:8], 'big') % _ONE_IN == 0


def in_split(facts: facts_lib.Facts, split: str) -> bool:
  """Say whether facts belong to a split: 'train', 'heldout' or 'all'."""
  if split not in SPLITS:
    raise ValueError(f'unknown split {split!r}; use one of {", ".join(SPLITS)}')
  return split == 'all' or is_held_out(facts) == (split == 'heldout')


@functools.lru_cache(maxsize=256)
def _combinations(shapes, colours, motions, split):
  found = []
  for shape in shapes:
    for colour in colours:
      for motion in motions:
        facts = facts_lib.Facts(shape=shape, colour=colour, motion=motion)
        if facts_lib.is_visible(facts) and in_split(facts, split):
          found.append((shape, colour, motion))
  return tuple(found)


def clip_combinations(
  subset: subset_lib.Subset, split: str
) -> tuple[tuple[str, str, str], ...]:
  """Return every (shape, colour, motion) of clips in a split of a subset."""
  return _combinations(subset.shapes, subset.colours, subset.motions, split)


def image_combinations(
  shapes: tuple[str, ...], colours: tuple[str, ...], split: str
) -> tuple[tuple[str, str, None], ...]:
  """Return every (shape, colour, None) of images in a split."""
  return _combinations(shapes, colours, (None,), split)
