"""The named parts of StoryWorld that models are trained on."""

import dataclasses

from phenaki_jax.errors import UserError
from phenaki_jax.storyworld import facts as facts_lib


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subset:
  """The values that a part of StoryWorld uses.

  Attributes:
    name: name of the subset.
    shapes, colours, sizes, motions, places, styles: values that clips show.
    image_only: by fact, values that images show and clips never do.
    grid: start positions are multiples of 1/grid of the frame; 0 means any
      position.
    two_objects: whether some scenes have a second object.
  """

  name: str
  shapes: tuple[str, ...]
  colours: tuple[str, ...]
  sizes: tuple[str, ...]
  motions: tuple[str, ...]
  places: tuple[str, ...]
  styles: tuple[str, ...]
  image_only: dict[str, tuple[str, ...]]
  grid: int = 0
  two_objects: bool = False

  def __post_init__(self):
    for fact in facts_lib.FACT_NAMES:
      if not self.clip_values(fact):
        raise ValueError(f'subset {self.name!r} has no {fact}')
      for value in self.values(fact):
        facts_lib.check_value(fact, value)
      both = set(self.clip_values(fact)) & set(self.image_values(fact))
      if both:
        raise ValueError(
          f'subset {self.name!r} has {sorted(both)} both in clips and as '
          f'image-only {fact}'
        )
    if self.image_values('motion'):
      raise ValueError(f'subset {self.name!r} has an image-only motion')

  def clip_values(self, fact: str) -> tuple[str, ...]:
    """Return the values of `fact` that clips show."""
    return getattr(self, fact + 's')

  def image_values(self, fact: str) -> tuple[str, ...]:
    """Return the values of `fact` that only images show."""
    return tuple(self.image_only.get(fact, ()))

  def values(self, fact: str) -> tuple[str, ...]:
    """Return all values of `fact`, those of clips first."""
    return self.clip_values(fact) + self.image_values(fact)


SUBSETS = {
  'easy': Subset(
    name='easy',
    shapes=('circle', 'square', 'triangle'),
    colours=('red', 'yellow', 'blue', 'white'),
    sizes=('big',),
    motions=('left', 'right', 'up', 'down', 'still'),
    places=('grass', 'sand', 'night'),
    styles=('plain',),
    image_only={
      'colour': ('pink',),
      'shape': ('star',),
      'place': ('snow',),
      'style': ('outline',),
    },
    grid=4,
  ),
  'medium': Subset(
    name='medium',
    shapes=('circle', 'square', 'triangle', 'star', 'cross'),
    colours=('red', 'orange', 'yellow', 'green', 'blue', 'purple', 'white'),
    sizes=('small', 'big'),
    motions=('left', 'right', 'up', 'down', 'still', 'bounce', 'spin'),
    places=('grass', 'sand', 'sea', 'night', 'road'),
    styles=('plain',),
    image_only={
      'colour': ('pink',),
      'shape': ('heart',),
      'place': ('snow',),
      'style': ('outline', 'pencil'),
    },
    grid=4,
  ),
  'full': Subset(
    name='full',
    shapes=('circle', 'square', 'triangle', 'star', 'cross'),
    colours=facts_lib.COLOURS[:8],
    sizes=facts_lib.SIZES,
    motions=facts_lib.MOTIONS,
    places=('grass', 'sand', 'sea', 'night', 'brick', 'road'),
    styles=('plain', 'outline'),
    image_only={
      'colour': ('pink', 'cyan'),
      'shape': ('heart',),
      'place': ('snow',),
      'style': ('pencil',),
    },
    two_objects=True,
  ),
}


def subset_named(name: str | Subset) -> Subset:
  """Return the subset with a name; a `Subset` is returned unchanged.

  Raises:
    UserError: the name is unknown; the message lists the names.
  """
  if isinstance(name, Subset):
    return name
  if name not in SUBSETS:
    raise UserError(f'unknown subset {name!r}; use one of {", ".join(SUBSETS)}')
  return SUBSETS[name]
