"""Choose the world of a model: StoryWorld or the sprite world."""

import pathlib

import phenaki_jax
from phenaki_jax.errors import UserError
from phenaki_jax.evaluation.sprites import SpriteWorld
from phenaki_jax.evaluation.storyworld import StoryWorld
from phenaki_jax.evaluation.world import World
from phenaki_jax.lpc.facts import KINDS
from phenaki_jax.runs.reader import open_reader
from phenaki_jax.storyworld import subset_named
from phenaki_jax.text.words import Words, split_words

NAMES = ('storyworld', 'lpc')
EXAMPLES = {
  'storyworld': {
    'seed': 4,
    'scenes': [
      {'prompt': 'a red circle moving right on grass'},
      {'prompt': 'it turns blue and keeps moving right'},
      {'prompt': 'it rises, now under the stars'},
    ],
  },
  'lpc': {
    'seed': 1,
    'scenes': [
      {
        'prompt': 'a woman with long red hair in plate armour draws a bow '
        'facing right on the grass'
      },
      {'prompt': 'she walks to the left, now on the sand'},
      {
        'prompt': 'a man with spiky green hair in a white shirt and teal pants '
        'swings a dagger facing the camera on the sand'
      },
      {
        'prompt': 'the woman is back and casts a spell facing the camera on '
        'the sand'
      },
    ],
  },
}
"""By world, the values of a story file that its models can make."""


def name_world(subset: str, words: Words | None) -> str | None:
  """Name the world of the data that a model was trained on.

  It is StoryWorld if that is one of the sources, and the sprite world if the
  captions have the words for all kinds of its characters.

  Args:
    subset: the part of StoryWorld among the sources; empty without it.
    words: of the captions; None if they are not known.

  Returns:
    One of `NAMES`, or None for other data.
  """
  if subset:
    return 'storyworld'
  known = words.counts if words else {}
  kinds = [word for kind in KINDS for word in split_words(kind)]
  return 'lpc' if all(word in known for word in kinds) else None


def open_world(name: str, *, subset: str, reader: str, fps: float) -> World:
  """Open a world for an evaluation.

  Args:
    name: one of `NAMES`.
    subset: the part of StoryWorld.
    reader: of the sprite world, the file that `phenaki reader --out` wrote;
      empty for the reader that ships with the package.
    fps: frames per second of the clips.

  Raises:
    UserError: the name, the subset or the reader is missing or wrong.
  """
  if name == 'storyworld':
    if reader:
      raise UserError(
        f'--reader is {reader}, but an oracle reads StoryWorld; leave --reader '
        'out, or name the sprite world with --world lpc'
      )
    if not subset:
      raise UserError(
        'the world is StoryWorld, of which the model has no subset; name one '
        'with --subset'
      )
    return StoryWorld(subset=subset_named(subset), fps=fps)
  if name != 'lpc':
    raise UserError(f'unknown world {name!r}; use one of {", ".join(NAMES)}')
  path = reader or str(_shipped())
  if not pathlib.Path(path).exists():
    raise UserError(
      f'there is no reader at {path}; name weights that `phenaki reader --out` '
      'wrote, with --reader FILE'
    )
  opened = open_reader(path)
  if not opened.thresholds:
    raise UserError(
      f'the reader {path} has no thresholds, without which it is sure of every '
      f'reading; choose them with `phenaki reader --reader {path} --out FILE`, '
      'and give --reader FILE'
    )
  return SpriteWorld(reader=opened, fps=fps)


def _shipped() -> pathlib.Path:
  """Return the reader of the sprite world that ships with the package."""
  package = pathlib.Path(phenaki_jax.__file__).parent
  return package / 'reference' / 'lpc_reader.safetensors'
