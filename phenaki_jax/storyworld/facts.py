"""The vocabulary of StoryWorld and the facts that describe one scene."""

import dataclasses

from phenaki_jax.errors import UserError

SHAPES = ('circle', 'square', 'triangle', 'star', 'cross', 'heart')
COLOURS = (
  *('red', 'orange', 'yellow', 'green', 'blue', 'purple', 'white', 'black'),
  *('pink', 'cyan'),
)
SIZES = ('small', 'big')
MOTIONS = (
  *('left', 'right', 'up', 'down', 'still', 'bounce', 'spin'),
  *('grow', 'shrink'),
)
PLACES = ('grass', 'sand', 'sea', 'night', 'brick', 'road', 'snow')
STYLES = ('plain', 'outline', 'pencil')

# Every fact with a single value, and its values, in the order of reports.
VALUES = {
  'shape': SHAPES,
  'colour': COLOURS,
  'size': SIZES,
  'motion': MOTIONS,
  'place': PLACES,
  'style': STYLES,
}
FACT_NAMES = tuple(VALUES)

# Size is not a fact of its own while an object grows or shrinks. These are the
# sizes at the end of these motions.
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


def size_is_visible(motion: str | None) -> bool:
  """Return whether the size can be seen, and named, during `motion`."""
  return motion not in SIZE_AFTER


def is_visible(facts: Facts) -> bool:
  """Return whether all facts can be seen; a spinning circle looks still."""
  return not (facts.shape == 'circle' and facts.motion == 'spin')
