"""Open a trained reader of characters, and measure it on labelled stories."""

import numpy as np

from phenaki_jax import config as config_lib
from phenaki_jax import progress
from phenaki_jax.data.story_sets import sets
from phenaki_jax.data.story_sets.story import Account
from phenaki_jax.errors import UserError
from phenaki_jax.evaluation.characters import CharacterScores, score_characters
from phenaki_jax.reader.characters import CharacterReader
from phenaki_jax.reader.config import CharactersConfig, ReaderConfig
from phenaki_jax.runs import experiment as experiment_lib
from phenaki_jax.training import checkpoints


def open_reader(path: str) -> CharacterReader:
  """Open the run directory of a reader of characters.

  Raises:
    UserError: it is the run of something else.
  """
  trained = experiment_lib.read(path)
  if trained.kind != 'reader' or not trained.characters.stories:
    raise UserError(
      f'{path} is not the run of a reader of characters; train one with '
      'configs/reader/characters.py'
    )
  snapshot = checkpoints.load_params(path)
  config = config_lib.build(ReaderConfig, snapshot.config['reader'])
  given = config_lib.build(CharactersConfig, snapshot.config['characters'])
  return CharacterReader(
    config=config, names=given.names, params=snapshot.params
  )


def measure(
  reader: CharacterReader, stories: str, *, split: str = 'test'
) -> CharacterScores:
  """Score a reader on the frames of the stories of a split.

  Each scene is read in its first frame, so that the score does not depend on a
  draw.

  Args:
    reader: what is measured.
    stories: HDF5 file with the same characters.
    split: of the stories.

  Raises:
    UserError: the file has other characters, or no story of the split.
  """
  file = sets.open_set('hdf5', stories)
  check_names(reader, file.characters, stories)
  chosen = [one for one in file.stories(Account()) if one.split == split]
  if not chosen:
    raise UserError(f'{stories} has no stories of {split}; name another file')
  found, shown = [], []
  for story in progress.bar(chosen, total=len(chosen), unit='story'):
    frames = np.stack([scene[0] for scene in story.scenes()])
    found.append(reader.read(frames))
    shown.append(np.asarray(story.labels, bool))
  return score_characters(np.concatenate(found), np.concatenate(shown))


def check_names(
  reader: CharacterReader, names: tuple[str, ...], stories: str
) -> None:
  """Check that a file of stories has labels of the characters of a reader.

  Raises:
    UserError: it has others.
  """
  if names != reader.names:
    raise UserError(
      f'{stories} has labels of {", ".join(names) or "nothing"}, but the '
      f'reader knows {", ".join(reader.names)}; they must be the same'
    )
