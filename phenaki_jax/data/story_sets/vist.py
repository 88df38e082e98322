"""VIST: five photographs of an album, told as a story or described singly.

SIS (stories in sequence) has a sentence for each photograph of a story, DII
(descriptions in isolation) has captions of single photographs. DII has no
stories of its own: it describes the photographs of those of SIS.
"""

import collections
import functools
import operator
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, Literal

from phenaki_jax.data import captions
from phenaki_jax.data.story_sets.didemo import load_image
from phenaki_jax.data.story_sets.story import (
  SPLITS,
  Account,
  Story,
  one_line,
  read_json,
)
from phenaki_jax.errors import NotFoundError, UserError

SCENES = 5

_SIS, _DII = 'story-in-sequence', 'description-in-isolation'
_OF_PHOTO: dict[str, Callable[[Any], Any]] = {
  'photo_flickr_id': str,
  'original_text': one_line,
}
_FIELDS: dict[str, dict[str, Callable[[Any], Any]]] = {
  _SIS: {'story_id': str, 'worker_arranged_photo_order': int, **_OF_PHOTO},
  _DII: _OF_PHOTO,
}


class Vist:
  """The stories of VIST, which has no labels of characters."""

  characters: tuple[str, ...] = ()

  def __init__(
    self, folder: str | os.PathLike[str], texts: Literal['sis', 'dii']
  ):
    """Read the annotations, and find the photographs.

    Args:
      folder: holds the JSON files and `<flickr id>.jpg`, in any subfolder.
      texts: 'sis' for the sentences of stories, 'dii' for the longest
        description of each photograph.

    Raises:
      UserError: a file is missing, or is not that of the release.
    """
    self.name = f'vist-{texts}'
    self._folder = pathlib.Path(folder)
    self._photos = {
      path.stem: path
      for path in sorted(self._folder.rglob('*.jpg'))
      if path.is_file()
    }
    self._splits = {split: self._notes(split, _SIS) for split in SPLITS}
    self._described: dict[str, dict[str, str]] | None = None
    if texts == 'dii':
      self._described = {
        split: _longest(self._notes(split, _DII)) for split in SPLITS
      }

  def stories(self, account: Account) -> Iterator[Story]:
    """Yield every story of five photographs that are there, with a text."""
    for split, notes in self._splits.items():
      groups: dict[str, list[Any]] = collections.defaultdict(list)
      for note in notes:
        groups[note['story_id']].append(note)
      for name, scenes in groups.items():
        scenes.sort(key=operator.itemgetter('worker_arranged_photo_order'))
        photos = [note['photo_flickr_id'] for note in scenes]
        if self._described is None:
          texts = [note['original_text'] for note in scenes]
        else:
          texts = [self._described[split].get(photo, '') for photo in photos]
        lacking = [photo for photo in photos if photo not in self._photos]
        if len(scenes) != SCENES:
          detail = f'{len(scenes)} photographs'
          account.drop(split, name, 'not_five_scenes', detail)
        elif lacking:
          account.drop(split, name, 'missing_image', f'{lacking[0]}.jpg')
        elif any(map(captions.is_empty, texts)):
          account.drop(split, name, 'missing_caption')
        else:
          paths = [self._photos[photo] for photo in photos]
          yield Story(
            id=name,
            split=split,
            captions=tuple(texts),
            load=functools.partial(load_image, paths),
          )

  def _notes(self, split: str, kind: str) -> list[Any]:
    """Return the annotations of a split, with the fields that are read."""
    name = f'{split}.{kind}.json'
    path = next(iter(sorted(self._folder.rglob(name))), None)
    if path is None:
      raise NotFoundError(
        f'{self._folder} holds no {name}; name the folder of the set'
      )
    content = read_json(path)
    try:
      return [
        {key: make(note[key]) for key, make in _FIELDS[kind].items()}
        for notes in content['annotations']
        for note in notes
      ]
    except KeyError as error:
      raise UserError(
        f'{path} is not a file of VIST ({error} is missing); fetch it again'
      ) from error
    except (AttributeError, TypeError, ValueError) as error:
      raise UserError(
        f'{path} is not a file of VIST ({error}); fetch it again'
      ) from error


def _longest(notes: list[Any]) -> dict[str, str]:
  """Return the longest description of each photograph, the first of equals."""
  found: dict[str, str] = {}
  for note in notes:
    photo, text = note['photo_flickr_id'], note['original_text']
    if len(text) > len(found.get(photo, '')):
      found[photo] = text
  return found
