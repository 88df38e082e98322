"""The HDF5 file in which AR-LDM keeps stories, read and written.

A group per split holds `image0`, `image1` and so on, one encoded picture of
each story, and `text`, the captions of a story joined by '|' (VIST: `sis` and
`dii` instead). Pictures of cartoons are vertical strips of square frames.

The colours of AR-LDM's own files are swapped: OpenCV encoded RGB arrays as if
they were BGR. Files that we write have true colours, and say so in the
attribute `colour`. They also have `captions`, which a separator in a caption
cannot break, `frames` (how many a strip has), `ids`, and `labels` with the
names of the characters.
"""

import contextlib
import functools
import os
import pathlib
import types
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from phenaki_jax.data import captions
from phenaki_jax.data.story_sets.story import (
  SPLITS,
  Account,
  SceneU8,
  Story,
  cut_strip,
  decode_image,
  one_line,
)
from phenaki_jax.errors import NotFoundError, UserError
from phenaki_jax.files.atomic import staged_file
from phenaki_jax.media.png import encode_png

SEPARATOR = '|'
RGB, BGR = 'RGB', 'BGR'
_TEXTS = ('text', 'sis', 'dii')
_CHUNK = 64  # stories of a chunk of the file


class Exchange:
  """The stories of a file.

  Attributes:
    colour: 'RGB', or 'BGR' for a file without the attribute, as AR-LDM writes.
  """

  name = 'hdf5'

  def __init__(self, path: str | os.PathLike[str], *, texts: str = ''):
    """Open a file.

    Args:
      path: the file.
      texts: 'sis' or 'dii' of VIST; by default the first that the file has of
        text, sis and dii.

    Raises:
      UserError: it is missing, or is no file of stories.
    """
    self._path = pathlib.Path(path)
    if not self._path.is_file():
      raise NotFoundError(f'there is no file {path}; name a file of stories')
    try:
      self._file = h5py.File(self._path, 'r')
    except OSError as error:
      raise UserError(
        f'{path} is not an HDF5 file ({error}); name one that '
        '`phenaki data stories` or AR-LDM wrote'
      ) from error
    self.colour = str(self._file.attrs.get('colour', BGR))
    if self.colour not in (RGB, BGR):
      raise UserError(
        f'{path} says that its colours are {self.colour!r}; they can be RGB or '
        'BGR'
      )
    self._texts = texts
    self.characters: tuple[str, ...] = tuple(
      map(str, self._file.attrs.get('characters', ()))
    )
    for split in SPLITS:
      if split in self._file:
        self._text_name(split)

  def close(self) -> None:
    """Close the file, from which the stories are read when they are decoded."""
    self._file.close()

  def stories(self, account: Account) -> Iterator[Story]:
    """Yield every story with a caption for each of its pictures."""
    for split in SPLITS:
      if split not in self._file:
        continue
      group, name = self._file[split], self._text_name(split)
      scenes = sum(f'image{i}' in group for i in range(len(group)))
      is_split = name != 'captions'
      for row in range(len(group[name])):
        story_id = (
          _decoded(group['ids'][row])
          if 'ids' in group
          else f'{split}_{row:05d}'
        )
        found = group[name][row]
        parts = _decoded(found).split(SEPARATOR) if is_split else found
        texts = [one_line(_decoded(part)) for part in parts]
        if len(texts) != scenes:
          detail = f'{len(texts)} captions of {scenes} pictures'
          account.drop(split, story_id, 'caption_count', detail)
          continue
        if any(map(captions.is_empty, texts)):
          account.drop(split, story_id, 'missing_caption')
          continue
        yield Story(
          id=story_id,
          split=split,
          captions=tuple(texts),
          labels=tuple(map(tuple, group['labels'][row].tolist()))
          if 'labels' in group
          else None,
          load=functools.partial(self._load, split, row, name == 'text'),
        )

  def _text_name(self, split: str) -> str:
    """Return the name of the captions of a split."""
    group = self._file[split]
    names = (self._texts,) if self._texts else ('captions', *_TEXTS)
    found = next((name for name in names if name in group), '')
    if not found or 'image0' not in group:
      raise UserError(
        f'{self._path} has no {" or ".join(names)} and image0 in {split}; name '
        'a file of stories'
      )
    return found

  def _load(self, split: str, row: int, is_strip: bool, scene: int) -> SceneU8:
    group = self._file[split]
    picture = decode_image(group[f'image{scene}'][row].tobytes())
    if self.colour == BGR:
      picture = np.ascontiguousarray(picture[..., ::-1])
    if 'frames' in group:
      return cut_strip(picture, int(group['frames'][row, scene]))
    return cut_strip(picture, 0 if is_strip else 1)


def _decoded(value: Any) -> str:
  return value.decode('utf-8') if isinstance(value, bytes) else str(value)


class ExchangeWriter(contextlib.AbstractContextManager['ExchangeWriter']):
  """Write stories with true colours; the file appears when the block ends."""

  def __init__(
    self,
    path: str | os.PathLike[str],
    *,
    name: str,
    characters: tuple[str, ...] = (),
  ):
    """Set the file.

    Args:
      path: the file.
      name: of the set.
      characters: names in the order of the labels.
    """
    self._path = pathlib.Path(path)
    self._name, self._characters = name, characters
    self._stack = contextlib.ExitStack()
    self._file: Any = None

  def __enter__(self) -> 'ExchangeWriter':
    """Open a temporary file beside the file."""
    part = self._stack.enter_context(staged_file(self._path))
    self._file = self._stack.enter_context(h5py.File(str(part), 'w'))
    self._file.attrs['colour'] = RGB
    self._file.attrs['set'] = self._name
    self._file.attrs['characters'] = list(self._characters)
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: types.TracebackType | None,
  ) -> None:
    """Close the file and move it to its path, or remove it."""
    self._stack.__exit__(kind, error, trace)

  def write(self, story: Story, scenes: tuple[SceneU8, ...]) -> None:
    """Append a story; all stories of a split have equally many scenes."""
    words = h5py.string_dtype()
    count = len(scenes)
    # In `text`, for AR-LDM's loader, no caption may contain the separator.
    joined = SEPARATOR.join(
      text.replace(SEPARATOR, '/') for text in story.captions
    )
    values: dict[str, Any] = {
      'ids': (story.id, (), words),
      'text': (joined, (), words),
      'captions': (story.captions, (count,), words),
      'frames': ([len(frames) for frames in scenes], (count,), np.uint16),
    }
    if story.labels is not None:
      labels = np.asarray(story.labels, np.uint8)
      values['labels'] = (labels, labels.shape, np.uint8)
    for index, frames in enumerate(scenes):
      strip = frames.reshape(-1, *frames.shape[2:])
      data = np.frombuffer(encode_png(strip), np.uint8)
      values[f'image{index}'] = (data, (), h5py.vlen_dtype(np.uint8))
    group = self._file.require_group(story.split)
    for name, (value, shape, dtype) in values.items():
      if name not in group:
        group.create_dataset(
          name,
          (0, *shape),
          dtype,
          maxshape=(None, *shape),
          chunks=(_CHUNK, *shape),
        )
      group[name].resize(len(group[name]) + 1, axis=0)
      group[name][-1] = value
