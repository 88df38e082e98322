"""The combinations of facts that are held out of training."""

from phenaki_jax.lpc import facts as facts_lib

_ONE_IN = 10
# A combination is held out if the sum of the index of each value, times the
# weight of its fact, is a multiple of `_ONE_IN`.
_WEIGHTS = {'hair': 7, 'kind': 3, 'outfit': 5, 'pants': 1}


def is_drawn(character: dict[str, str]) -> bool:
  """Return whether the values drawn for a character are held out.

  Args:
    character: a value for each fact of a character, hidden ones included.
  """
  total = sum(
    facts_lib.VALUES[fact].index(character[fact]) * weight
    for fact, weight in _WEIGHTS.items()
  )
  return total % _ONE_IN == 0


def is_held_out(facts: facts_lib.Facts) -> bool:
  """Return whether training never shows the character of `facts`.

  One combination in ten of kind, hair, outfit and pants is held out. Skeletons
  and characters in plate armour never are. Their hidden facts are drawn too and
  count in the rule, so training shows each of these characters with some of the
  hidden values.
  """
  character = {fact: getattr(facts, fact) for fact in _WEIGHTS}
  return None not in character.values() and is_drawn(character)
