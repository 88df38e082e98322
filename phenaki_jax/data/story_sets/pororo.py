"""PororoSV, as StoryGAN released it: strips of frames of a cartoon.

The folder holds `<series>/<episode>/<n>.png`, each a vertical strip of square
frames, and the captions, labels and lists of stories that Python 2 pickled. A
story is a strip and the four that follow it.
"""

import functools
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from phenaki_jax.data import captions
from phenaki_jax.data.story_sets import pickles
from phenaki_jax.data.story_sets.story import (
  SPLITS,
  Account,
  SceneU8,
  Story,
  cut_strip,
  one_line,
  read_image,
)
from phenaki_jax.errors import UserError

FOLLOWERS = 4
"""Scenes of a story after the first one."""


class Pororo:
  """The stories of PororoSV.

  The published lists hold 10191, 2334 and 2208 stories.
  """

  name = 'pororo'
  characters: tuple[str, ...] = (
    *('Pororo', 'Loopy', 'Crong', 'Eddy', 'Poby', 'Petty', 'Tongtong'),
    *('Rody', 'Harry'),
  )

  def __init__(self, folder: str | os.PathLike[str]):
    """Read the lists; without the two caches, make them as StoryGAN does.

    Raises:
      UserError: a file is missing, or is not that of the release.
    """
    self._folder = pathlib.Path(folder)
    caches = [
      self._folder / f'{name}_cache4.npy' for name in ('img', 'following')
    ]
    if all(path.is_file() for path in caches):
      first, following = map(pickles.load_npy, caches)
      self._paths = [
        [_path(start), *map(_path, rest)]
        for start, rest in zip(first, following, strict=True)
      ]
    else:
      self._paths = _find(self._folder)
    path = self._folder / 'train_seen_unseen_ids.npy'
    splits = pickles.load_npy(path)
    if len(splits) != len(SPLITS):
      raise UserError(
        f'{path} has {len(splits)} lists; it needs those of the training, '
        'validation and test split'
      )
    self._splits = {
      name: sorted(int(index) for index in indices)
      for name, indices in zip(SPLITS, splits, strict=True)
    }
    last = max(
      (places[-1] for places in self._splits.values() if places), default=-1
    )
    if last >= len(self._paths):
      raise UserError(
        f'{path} names story {last}, but there are {len(self._paths)}; the '
        'frames are not those of the release'
      )
    self._captions = self._table('descriptions.npy')
    self._labels = self._table('labels.npy')

  def stories(self, account: Account) -> Iterator[Story]:
    """Yield every story whose scenes have captions and labels."""
    for split, places in self._splits.items():
      for place in places:
        paths = self._paths[place]
        keys = [path.removesuffix('.png') for path in paths]
        texts = [_first(self._captions.get(key)) for key in keys]
        missing = [
          key
          for key, words in zip(keys, texts, strict=True)
          if captions.is_empty(words)
        ]
        unlabelled = [key for key in keys if key not in self._labels]
        if missing or unlabelled:
          reason = 'missing_caption' if missing else 'missing_labels'
          account.drop(split, keys[0], reason, (missing or unlabelled)[0])
          continue
        yield Story(
          id=keys[0],
          split=split,
          captions=tuple(texts),
          labels=tuple(
            tuple(int(flag) for flag in self._labels[key]) for key in keys
          ),
          load=functools.partial(_load, self._folder, paths),
        )

  def _table(self, name: str) -> Mapping[str, Any]:
    return pickles.by_text(pickles.load_npy(self._folder / name))


def _path(value: Any) -> str:
  return pickles.text(value).strip('/')


def _first(values: Any) -> str:
  """Return the first caption of a scene; '' if there is none."""
  if values is None or not len(values):
    return ''
  return one_line(pickles.text(values[0]))


def _load(folder: pathlib.Path, paths: Sequence[str], scene: int) -> SceneU8:
  return cut_strip(read_image(folder / paths[scene]))


def _find(folder: pathlib.Path) -> list[list[str]]:
  """Find the stories as StoryGAN does, whose lists of indices need its order.

  Strip n of an episode starts a story if n <= count - 4. Names are in the
  order of strings, so that 10.png precedes 2.png.
  """
  path = folder / 'frames_counter.npy'
  counts = {
    key.strip('/'): int(np.asarray(count))
    for key, count in pickles.by_text(pickles.load_npy(path)).items()
  }
  found = []
  for episode in sorted({file.parent for file in folder.glob('*/*/*.png')}):
    name = episode.relative_to(folder).as_posix()
    if name not in counts:
      raise UserError(
        f'{path} has no count of {name}; the frames are not those of the '
        'release'
      )
    for file in sorted(file.stem for file in episode.glob('*.png')):
      number = int(file)
      if number <= counts[name] - FOLLOWERS:
        found.append([f'{name}/{number + i}.png' for i in range(FOLLOWERS + 1)])
  return found
