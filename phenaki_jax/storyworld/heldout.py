"""The combinations of facts that are held out of training."""

import functools
import hashlib

from phenaki_jax.storyworld import facts as facts_lib
from phenaki_jax.types import Split

_SALT = 'storyworld-0'
_ONE_IN = 10


@functools.lru_cache(maxsize=65536)
def is_held_out(facts: facts_lib.Facts) -> bool:
  """Return whether a combination of facts is held out.

  A combination consists of all visible facts except the second object. About
  one in ten is held out, chosen by a hash that is the same on every machine.
  So most held-out combinations differ in a single fact from combinations that
  are trained on. Images (motion None) have combinations of their own.
  """
  values = facts.as_dict()
  if facts.motion in facts_lib.SIZE_AFTER:
    values['size'] = ''
  key = '|'.join((_SALT, *map(str, values.values())))
  digest = hashlib.sha256(key.encode()).digest()
  return int.from_bytes(digest[:8], 'big') % _ONE_IN == 0


def in_split(facts: facts_lib.Facts, split: Split) -> bool:
  """Return whether facts belong to a split."""
  return split == 'all' or is_held_out(facts) == (split == 'heldout')
