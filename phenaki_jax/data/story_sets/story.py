"""A story of a set, the protocol of sets, and the account of what is left out.

A story has one caption per scene. A scene is shown by a short clip or, in sets
of photographs, by a single image.
"""

import collections
import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from phenaki_jax.data import image, schema
from phenaki_jax.errors import NotFoundError, UserError
from phenaki_jax.types import ImageU8

SPLITS = ('train', 'val', 'test')

SceneU8 = UInt8[np.ndarray, '_ _ _ 3']
"""RGB frames of a scene; those of a story differ in number, and in size."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Story:
  """A story whose frames are not decoded yet.

  Attributes:
    id: name of the story, unique within its split.
    split: 'train', 'val' or 'test'.
    captions: one per scene, on one line each.
    labels: one row per scene: 1 for each character of the set that the scene
      shows, 0 for the others. None if the set has no labels.
    load: decodes the frames of the scene with a number, from 0.
  """

  id: str
  split: str
  captions: tuple[str, ...]
  labels: tuple[tuple[int, ...], ...] | None = None
  load: Callable[[int], SceneU8] = dataclasses.field(repr=False, compare=False)

  def scenes(self) -> tuple[SceneU8, ...]:
    """Decode the frames of each scene.

    Raises:
      schema.DecodeError: a file is missing or cannot be used.
    """
    return tuple(map(self.load, range(len(self.captions))))


class Account:
  """Counts the stories that are kept, and those left out by reason.

  Attributes:
    kept: number of stories by split.
    left_out: number of stories by split and reason.
    dropped: split, id, reason and detail of each story that is left out.
  """

  def __init__(self) -> None:
    self.kept: collections.Counter[str] = collections.Counter()
    self.left_out: collections.Counter[tuple[str, str]] = collections.Counter()
    self.dropped: list[dict[str, str]] = []

  def keep(self, story: Story) -> None:
    """Count a story that is kept."""
    self.kept[story.split] += 1

  def drop(
    self, split: str, story_id: str, reason: str, detail: str = ''
  ) -> None:
    """Count a story that is left out."""
    self.left_out[split, reason] += 1
    self.dropped.append(
      {'split': split, 'id': story_id, 'reason': reason, 'detail': detail}
    )

  def to_dict(self) -> dict[str, Any]:
    """Return the counts of each split, for JSON."""
    return {
      split: {
        'stories': self.kept[split] + sum(self._reasons(split).values()),
        'kept': self.kept[split],
        'left_out': self._reasons(split),
      }
      for split in SPLITS
    }

  def lines(self) -> list[str]:
    """Return the counts as lines of text."""
    lines = []
    for split, counts in self.to_dict().items():
      lines.append(f'{counts["stories"]:10,} {split} stories')
      for reason, count in counts['left_out'].items():
        lines.append(f'{-count:10,} {reason}')
      lines.append(f'{counts["kept"]:10,} kept')
    return lines

  def _reasons(self, split: str) -> dict[str, int]:
    return {
      reason: count
      for (of, reason), count in sorted(self.left_out.items())
      if of == split
    }


@runtime_checkable
class StorySet(Protocol):
  """A set of stories in the files of its release.

  Attributes:
    name: as in `phenaki data stories --set`.
    characters: names of the characters, in the order of the labels; empty if
      the set has no labels.
  """

  name: str
  characters: tuple[str, ...]

  def stories(self, account: Account) -> Iterator[Story]:
    """Yield every story that has all its parts, split by split, in order.

    Args:
      account: is told of every other story.
    """


def one_line(text: str) -> str:
  """Return a caption without line breaks, tabs and repeated spaces."""
  return ' '.join(text.split())


def read_json(path: pathlib.Path) -> Any:
  """Return the content of a JSON file.

  Raises:
    NotFoundError: there is no such file.
    UserError: it is not JSON.
  """
  try:
    return json.loads(path.read_text('utf-8'))
  except FileNotFoundError as error:
    raise NotFoundError(
      f'there is no file {path}; name the folder of the set'
    ) from error
  except ValueError as error:
    raise UserError(f'{path} is not JSON ({error}); fetch it again') from error


def decode_image(data: bytes) -> ImageU8:
  """Decode the bytes of an image file.

  Raises:
    schema.DecodeError: it is not a usable image.
  """
  return np.array(image.decode(data))


def read_image(path: pathlib.Path) -> ImageU8:
  """Decode an image file.

  Raises:
    schema.DecodeError: it is missing, or not a usable image.
  """
  try:
    data = path.read_bytes()
  except OSError as error:
    raise schema.DecodeError('missing_image', str(path)) from error
  return decode_image(data)


def cut_strip(
  strip: ImageU8, frames: int = 0
) -> UInt8[np.ndarray, 'frames rows columns 3']:
  """Cut a vertical strip into its frames.

  Args:
    strip: equal frames, the first at the top.
    frames: their number; 0 for as many as are square.

  Raises:
    schema.DecodeError: the strip is no whole number of frames.
  """
  height, width = strip.shape[:2]
  side = height // frames if frames else width
  if not side or height % side or height < side:
    raise schema.DecodeError('uneven_strip', f'{width} x {height} pixels')
  return strip.reshape(-1, side, width, 3)
