"""DiDeMoSV: three photographs of a video with a caption each."""

import functools
import os
import pathlib
from collections.abc import Iterator, Sequence

from phenaki_jax.data import captions
from phenaki_jax.data.story_sets.story import (
  SPLITS,
  Account,
  SceneU8,
  Story,
  one_line,
  read_image,
  read_json,
)
from phenaki_jax.errors import UserError

SCENES = 3


class Didemo:
  """The stories of DiDeMoSV; there are no labels of characters."""

  name = 'didemo'
  characters: tuple[str, ...] = ()

  def __init__(self, folder: str | os.PathLike[str]):
    """Read the lists of stories.

    Raises:
      UserError: a file is missing, or is not that of the release.
    """
    folder = pathlib.Path(folder).absolute()
    # Paths begin with the name of the folder itself.
    self._parent = folder.parent
    self._splits = {split: _pairs(folder / f'{split}.json') for split in SPLITS}

  def stories(self, account: Account) -> Iterator[Story]:
    """Yield every story of at least three images, of which it is the first."""
    for split, stories in self._splits.items():
      for number, pairs in enumerate(stories):
        name = f'{split}_{number:05d}'
        texts = [text for text, _ in pairs]
        paths = [self._parent / path for _, path in pairs]
        lacking = [str(path) for path in paths if not path.is_file()]
        if len(pairs) < SCENES:
          account.drop(split, name, 'too_few_scenes', f'{len(pairs)} scenes')
        elif lacking:
          account.drop(split, name, 'missing_image', lacking[0])
        elif any(map(captions.is_empty, texts)):
          account.drop(split, name, 'missing_caption')
        else:
          yield Story(
            id=name,
            split=split,
            captions=tuple(texts),
            load=functools.partial(load_image, paths),
          )


def _pairs(path: pathlib.Path) -> list[list[tuple[str, str]]]:
  """Return the captions and the paths of the scenes of each story."""
  content = read_json(path)
  try:
    return [
      [
        (one_line(text), os.fspath(place))
        for text, place in entry.get('desc_to_frame', ())[:SCENES]
      ]
      for entry in content
    ]
  except (AttributeError, TypeError, ValueError) as error:
    raise UserError(
      f'{path} is not a file of DiDeMoSV ({error}); fetch it again'
    ) from error


def load_image(paths: Sequence[pathlib.Path], scene: int) -> SceneU8:
  """Decode the image of a scene."""
  return read_image(paths[scene])[None]
