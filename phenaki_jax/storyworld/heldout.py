"""The combinations of facts that no training example shows."""

import functools
import hashlib

from phenaki_jax.errors import UserError
from phenaki_jax.storyworld import facts as facts_lib

SPLITS = ('train', 'heldout', 'all')
_SALT = 'storyworld-0'
_ONE_IN = 10


@functools.lru_cache(maxsize=65536)
def _drawn(key: str) -> bool:
  digest = hashlib.sha256(key.encode()).digest()
  return int.from_bytes(digest[:8], 'big') % _ONE_IN == 0


def is_held_out(facts: facts_lib.Facts) -> bool:
  """Say whether a combination of facts is held out.

  All facts that can be seen count (not a second object's), so what is held
  out differs in one fact from much that is trained on. About one combination
  in ten is, by a hash that is the same everywhere. Pictures (motion None)
  have combinations of their own.
  """
  size = facts.size if facts_lib.size_is_visible(facts.motion) else ''
  parts = (
    facts.shape,
    facts.colour,
    size,
    facts.motion,
    facts.place,
    facts.style,
  )
  return _drawn('|'.join((_SALT, *map(str, parts))))


def in_split(facts: facts_lib.Facts, split: str) -> bool:
  """Say whether facts belong to a split: 'train', 'heldout' or 'all'."""
  if split not in SPLITS:
    raise UserError(f'unknown split {split!r}; use one of {", ".join(SPLITS)}')
  return split == 'all' or is_held_out(facts) == (split == 'heldout')
