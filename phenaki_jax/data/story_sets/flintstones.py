"""FlintstonesSV: five frames of each clip of a cartoon, with annotations.

A story is a clip and the next four of the same season and episode.
"""

import functools
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from phenaki_jax.data import captions, schema
from phenaki_jax.data.story_sets import pickles
from phenaki_jax.data.story_sets.story import (
  SPLITS,
  Account,
  SceneU8,
  Story,
  one_line,
  read_json,
)
from phenaki_jax.errors import UserError

FOLLOWERS = 4
"""Scenes of a story after the first one."""

_FRAMES = ('video_frames_sampled', 'video_frames')


class Flintstones:
  """The stories of FlintstonesSV.

  A story belongs to the split of its first clip. All of them are read:
  StoryDALL-E evaluates only the first 1900 of the test split.
  """

  name = 'flintstones'
  characters: tuple[str, ...] = (
    *('Wilma', 'Fred', 'Betty', 'Barney', 'Dino', 'Pebbles', 'Mr Slate'),
  )

  def __init__(self, folder: str | os.PathLike[str]):
    """Read the annotations; without caches, make them from these.

    Raises:
      UserError: a file is missing, or is not that of the release.
    """
    self._folder = pathlib.Path(folder)
    self._splits = read_json(self._folder / 'train-val-test_split.json')
    entries = read_json(self._folder / 'flintstones_annotations_v1-0.json')
    try:
      notes = {entry['globalID']: entry for entry in entries}
      self._captions = {
        clip: one_line(entry['description']) for clip, entry in notes.items()
      }
      every = sorted(clip for split in SPLITS for clip in self._splits[split])
    except (KeyError, TypeError, AttributeError) as error:
      raise UserError(
        f'the JSON files of {self._folder} are not those of the release: '
        f'{error} is missing'
      ) from error
    path = self._folder / f'following_cache{FOLLOWERS}.pkl'
    self._followers: Mapping[str, Sequence[Any]] = (
      pickles.by_text(pickles.load_pickle(path))
      if path.is_file()
      else _following(every)
    )
    path = self._folder / 'labels.pkl'
    self._labels: Mapping[str, Any] = (
      pickles.by_text(pickles.load_pickle(path))
      if path.is_file()
      else {clip: self._label(entry) for clip, entry in notes.items()}
    )

  def stories(self, account: Account) -> Iterator[Story]:
    """Yield every story of five clips that have captions and labels."""
    for split in SPLITS:
      for clip in self._splits[split]:
        rest = [pickles.text(item) for item in self._followers.get(clip, ())]
        clips = [clip, *rest]
        texts = [self._captions.get(one, '') for one in clips]
        if len(rest) < FOLLOWERS:
          detail = f'{len(rest)} of {FOLLOWERS} clips follow'
          account.drop(split, clip, 'short_followers', detail)
        elif any(map(captions.is_empty, texts)):
          account.drop(split, clip, 'missing_caption')
        elif any(one not in self._labels for one in clips):
          account.drop(split, clip, 'missing_labels')
        else:
          yield Story(
            id=clip,
            split=split,
            captions=tuple(texts),
            labels=tuple(
              tuple(int(flag) for flag in self._labels[one]) for one in clips
            ),
            load=functools.partial(_load, self._folder, clips),
          )

  def _label(self, entry: Mapping[str, Any]) -> list[int]:
    """Return the labels of an annotated clip."""
    shown = {
      str(one.get(key, '')).strip().casefold()
      for one in entry.get('characters', ())
      for key in ('entityLabel', 'labelNPC')
    }
    return [int(name.casefold() in shown) for name in self.characters]


def _following(clips: Sequence[str]) -> dict[str, list[str]]:
  """Return the next clips of the same episode of each clip.

  Args:
    clips: `s_<season>_e_<episode>_...`, sorted.
  """

  def episode(clip: str) -> tuple[str, ...]:
    return tuple(clip.split('_')[1:4:2])

  found = {}
  for place, clip in enumerate(clips):
    after = clips[place + 1 : place + 1 + FOLLOWERS]
    found[clip] = [one for one in after if episode(one) == episode(clip)]
  return found


def _load(folder: pathlib.Path, clips: Sequence[str], scene: int) -> SceneU8:
  clip = clips[scene]
  places = [folder / name / f'{clip}.npy' for name in _FRAMES]
  path = next((path for path in places if path.is_file()), None)
  if path is None:
    raise schema.DecodeError('missing_image', str(places[0]))
  try:
    frames = np.load(path, allow_pickle=False)
  except (ValueError, EOFError, OSError) as error:
    raise schema.DecodeError('corrupt_npy', f'{path}: {error}') from error
  if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3:
    raise schema.DecodeError(
      'corrupt_npy', f'{path}: {frames.dtype} of shape {frames.shape}'
    )
  return frames
