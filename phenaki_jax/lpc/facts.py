"""The vocabulary of the sprite world and the facts that describe one scene."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from phenaki_jax.errors import UserError

KINDS = (
  *('man', 'woman', 'dark-skinned man', 'dark-skinned woman'),
  *('orc', 'skeleton'),
)
HAIRS = (
  *('blonde', 'black', 'red', 'green', 'purple', 'white', 'blue', 'pink'),
)
HAIR_STYLES = ('short', 'long', 'spiky', 'curly', 'mohawk')
SHIRTS = ('brown', 'maroon', 'teal', 'white')
ARMOURS = ('plate armour', 'leather armour', 'chain mail')
PANTS = ('magenta', 'red', 'teal', 'white')
ACTIONS = ('cast', 'thrust', 'walk', 'slash', 'shoot', 'fall')
DIRECTIONS = ('up', 'left', 'down', 'right')
PLACES = ('grass', 'sand', 'stone', 'night', 'water', 'snow')
STYLES = ('plain', 'pencil drawing', 'watercolor painting')

# Every fact and its values. The result of a seed depends on the order.
VALUES = {
  'kind': KINDS,
  'hair': HAIRS,
  'hair_style': HAIR_STYLES,
  'outfit': SHIRTS + ARMOURS,
  'pants': PANTS,
  'action': ACTIONS,
  'direction': DIRECTIONS,
  'place': PLACES,
  'style': STYLES,
}
FACT_NAMES = tuple(VALUES)

# Values that images show and clips never do.
IMAGE_ONLY = {
  'hair': ('blue', 'pink'),
  'place': ('snow',),
  'style': ('pencil drawing', 'watercolor painting'),
}

# The names of facts in the records of data sets, where they differ.
_KEYS = {'hair_style': 'style', 'style': 'style_of_picture'}


def clip_values(fact: str) -> tuple[str, ...]:
  """Return the values of `fact` that clips show."""
  hidden = IMAGE_ONLY.get(fact, ())
  return tuple(value for value in VALUES[fact] if value not in hidden)


def check_value(fact: str, value: str | None) -> None:
  """Raise UserError unless `value` is one of the values of `fact`."""
  if value not in VALUES[fact]:
    raise UserError(
      f'unknown {fact} {value!r}; use one of {", ".join(VALUES[fact])}'
    )


def hidden_facts(kind: str | None, outfit: str | None) -> tuple[str, ...]:
  """Return the facts that a kind and an outfit hide, and that are None."""
  hair = ('hair', 'hair_style') if kind == 'skeleton' else ()
  return hair + (('pants',) if outfit == 'plate armour' else ())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
  """What a scene shows; the values of each fact are listed in `VALUES`.

  A skeleton has no hair, and plate armour hides the pants: these facts are
  None. A fall is drawn in one direction, 'down'. Anything else raises
  UserError.

  Attributes:
    kind, hair, hair_style, outfit, pants: the character; `hair` is the colour
      of the hair, and an outfit of one word is the colour of a shirt.
    action, direction: what the character does and the way it faces.
    place, style: the ground and the look of the picture.
  """

  kind: str
  hair: str | None
  hair_style: str | None
  outfit: str
  pants: str | None
  action: str
  direction: str
  place: str
  style: str = 'plain'

  def __post_init__(self):
    hidden = hidden_facts(self.kind, self.outfit)
    for fact, value in self.as_dict().items():
      if fact not in hidden:
        check_value(fact, value)
      elif value is not None:
        raise UserError(
          f'{fact} is {value!r}, but a {self.kind} in {self.outfit} hides it; '
          'use None'
        )
    if self.action == 'fall' and self.direction != 'down':
      raise UserError(
        f"direction is {self.direction!r}, but a fall has only 'down'"
      )

  def replace(self, **changes: str | None) -> 'Facts':
    """Return a copy with the given fields replaced."""
    return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

  def as_dict(self) -> dict[str, str | None]:
    """Return all facts by name."""
    return {fact: getattr(self, fact) for fact in FACT_NAMES}

  def attributes(self, *names: str) -> dict[str, str | None]:
    """Return the named facts as a record of a data set has them.

    There, `hair_style` is called 'style', and `style` 'style_of_picture', which
    is None where it is plain.
    """
    values = {_KEYS.get(name, name): getattr(self, name) for name in names}
    if values.get('style_of_picture') == 'plain':
      values['style_of_picture'] = None
    return values


def from_attributes(attributes: Mapping[str, Any]) -> dict[str, str | None]:
  """Return the facts of the attributes of a record, by the names of `Facts`.

  A story lacks the action and direction, which its scenes have. What has no
  'style_of_picture' is plain.

  Raises:
    UserError: a name is not that of an attribute.
  """
  names = {_KEYS.get(name, name): name for name in FACT_NAMES}
  unknown = sorted(attributes.keys() - names.keys())
  if unknown:
    raise UserError(f'unknown attribute {unknown[0]!r}; use {", ".join(names)}')
  found = {names[key]: value for key, value in attributes.items()}
  return {**found, 'style': found.get('style') or 'plain'}
