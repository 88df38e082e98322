"""The vocabulary of StoryWorld and the facts that describe one scene."""

import dataclasses

from phenaki_jax.errors import UserError

SHAPES = ('circle', 'square', 'triangle', 'star', 'cross', 'heart')
COLOURS = (
  'red',
  'orange',
  'yellow',
  'green',
  'blue',
  'purple',
  'white',
  'black',
  'pink',
  'cyan',
)
SIZES = ('small', 'big')
MOTIONS = (
  'left',
  'right',
  'up',
  'down',
  'still',
  'bounce',
  'spin',
  'grow',
  'shrink',
)
PLACES = ('grass', 'sand', 'sea', 'night', 'brick', 'road', 'snow')
STYLES = ('plain', 'outline', 'pencil')

# Every single-valued fact and its values, in the order reports show them.
VALUES = {
  'shape': SHAPES,
  'colour': COLOURS,
  'size': SIZES,
  'motion': MOTIONS,
  'place': PLACES,
  'style': STYLES,
}
FACT_NAMES = tuple(VALUES)

# While an object grows or shrinks its size is no fact of its own; these are
# the sizes it is left with.
SIZE_AFTER = {'grow': 'big', 'shrink': 'small'}


def check_value(fact: str, value: str) -> None:
  """Raise UserError unless `value` is one of the values of `fact`."""
  if fact not in VALUES:
    raise UserError(
      f'unknown fact {fact!r}; use one of {", ".join(FACT_NAMES)}'
    )
  if value not in VALUES[fact]:
    raise UserError(
      f'unknown {fact} {value!r}; use one of {", ".join(VALUES[fact])}'
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SecondObject:
  """Describe the small, still object that may stand beside the main one."""

  shape: str
  colour: str

  def __post_init__(self):
    check_value('shape', self.shape)
    check_value('colour', self.colour)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
  """Say what a scene shows.

  `motion` is None for a picture, where nothing can be said of motion. Any
  unknown value raises UserError.
  """

  shape: str
  colour: str
  size: str = 'big'
  motion: str | None = 'still'
  place: str = 'grass'
  style: str = 'plain'
  second: SecondObject | None = None

  def __post_init__(self):
    for fact in FACT_NAMES:
      value = getattr(self, fact)
      if fact == 'motion' and value is None:
        continue
      check_value(fact, value)

  def replace(self, **changes: object) -> 'Facts':
    """Return the facts with `changes` made."""
    return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

  def as_dict(self) -> dict[str, str | None]:
    """Return the six single-valued facts by name."""
    return {fact: getattr(self, fact) for fact in FACT_NAMES}


def size_is_visible(motion: str | None) -> bool:
  """Say whether size can be seen (and named) along with `motion`."""
  return motion not in SIZE_AFTER


def is_visible(facts: Facts) -> bool:
  """Say whether a viewer can tell all of `facts`: a circle cannot spin."""
  return not (facts.shape == 'circle' and facts.motion == 'spin')
