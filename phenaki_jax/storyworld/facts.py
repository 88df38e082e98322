"""The vocabulary of StoryWorld and the facts that describe one scene."""

import dataclasses

from phenaki_jax.errors import UserError

# Every fact with a single value, and its values, in the order of reports.
VALUES: dict[str, tuple[str, ...]] = {
  'shape': ('circle', 'square', 'triangle', 'star', 'cross', 'heart'),
  'colour': (
    *('red', 'orange', 'yellow', 'green', 'blue', 'purple', 'white', 'black'),
    *('pink', 'cyan'),
  ),
  'size': ('small', 'big'),
  'motion': (
    *('left', 'right', 'up', 'down', 'still', 'bounce', 'spin'),
    *('grow', 'shrink'),
  ),
  'place': ('grass', 'sand', 'sea', 'night', 'brick', 'road', 'snow'),
  'style': ('plain', 'outline', 'pencil'),
}
FACT_NAMES = tuple(VALUES)
SHAPES, COLOURS, SIZES, MOTIONS, PLACES, STYLES = VALUES.values()

# The size of an object at the end of the motions that hide its size.
SIZE_AFTER = {'grow': 'big', 'shrink': 'small'}


def check_value(fact: str, value: str | None) -> None:
  """Raise UserError unless `value` is one of the values of `fact`."""
  if value not in VALUES[fact]:
    raise UserError(
      f'unknown {fact} {value!r}; use one of {", ".join(VALUES[fact])}'
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SecondObject:
  """A small, still object beside the main one."""

  shape: str
  colour: str

  def __post_init__(self):
    check_value('shape', self.shape)
    check_value('colour', self.colour)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
  """What a scene shows.

  The values of each fact are listed in `VALUES`; any other value raises
  UserError. `motion` is None for an image, which shows no motion.
  """

  shape: str
  colour: str
  size: str = 'big'
  motion: str | None = 'still'
  place: str = 'grass'
  style: str = 'plain'
  second: SecondObject | None = None

  def __post_init__(self):
    for fact, value in self.as_dict().items():
      if fact != 'motion' or value is not None:
        check_value(fact, value)

  def replace(self, **changes: object) -> 'Facts':
    """Return a copy with the given fields replaced."""
    return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

  def as_dict(self) -> dict[str, str | None]:
    """Return the six facts with a single value, by name."""
    return {fact: getattr(self, fact) for fact in FACT_NAMES}

  def visible(self) -> dict[str, str]:
    """Return those of the six facts that the scene shows, by name.

    An image shows no motion, and a growing or shrinking object no size.
    """
    hidden = 'size' if self.motion in SIZE_AFTER else ''
    values = self.as_dict().items()
    return {fact: v for fact, v in values if v is not None and fact != hidden}


def is_visible(facts: Facts) -> bool:
  """Return whether all facts can be seen; a spinning circle looks still."""
  return not (facts.shape == 'circle' and facts.motion == 'spin')
