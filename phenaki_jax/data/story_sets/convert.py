"""Convert a set of stories into films with scenes, or into an HDF5 file."""

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from phenaki_jax import progress
from phenaki_jax.data import schema, transforms
from phenaki_jax.data.story_sets import sets
from phenaki_jax.data.story_sets.story import (
  Account,
  SceneU8,
  Story,
  StorySet,
)
from phenaki_jax.errors import UserError
from phenaki_jax.extras import check_extra
from phenaki_jax.files.atomic import replace_file, staged_folder
from phenaki_jax.media.contact_sheet import Row, contact_sheet
from phenaki_jax.media.mp4 import write_mp4
from phenaki_jax.media.png import write_png
from phenaki_jax.types import VideoU8

_SHOWN = 2  # stories of each split on the contact sheet
_SHEET_SIDE = 128  # of its frames, in pixels

Put = Callable[[Story, tuple[SceneU8, ...]], object]
"""Writes a story and the frames of its scenes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Form:
  """How frames are written.

  Attributes:
    size: height and width in pixels, to which frames are resized and cropped;
      0 keeps those of an HDF5 file as they are.
    frames: frames of a scene in a film, taken evenly from those of the set; a
      photograph is repeated.
    fps: frames per second of a film.
  """

  size: int = 0
  frames: int = 9
  fps: int = 8

  @property
  def film_size(self) -> int:
    """Return the height and width of films."""
    return self.size or 128


def convert(
  stories: StorySet, out: str | pathlib.Path, *, form: Form
) -> Account:
  """Write a set, an account of it, and a contact sheet of a few stories.

  A folder gets one in the stories layout for each split: `train`, `val` and
  `test`. The account is `report.json` and `dropped.jsonl`, and the sheet is
  `sheet.png`; beside a file, their names begin with its own.

  Args:
    stories: the set.
    out: a new folder, or a file that ends in .h5 or .hdf5.
    form: how frames are written.

  Raises:
    UserError: the folder is not empty, the file exists, the size of films is
      odd, or no story can be used.
  """
  out = pathlib.Path(out)
  account, rows = Account(), []
  if out.suffix in sets.HDF5:
    if out.exists():
      raise UserError(f'{out} exists; name a new file')
    beside = out.with_suffix('')
    places = {
      name: beside.with_name(f'{beside.name}.{name}')
      for name in ('report.json', 'dropped.jsonl', 'sheet.png')
    }
    with _file(stories, out, form) as put:
      rows = _write(stories, account, put)
  else:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
      raise UserError(f'{out} is not empty; name a new folder')
    if form.film_size % 2:
      raise UserError(
        f'the size is {form.size}, but H.264 needs an even one; choose another'
      )
    with _folder(stories, out, form) as put:
      rows = _write(stories, account, put)
    places = {
      name: out / name for name in ('report.json', 'dropped.jsonl', 'sheet.png')
    }
  content = {'set': stories.name, 'splits': account.to_dict()}
  if colour := getattr(stories, 'colour', ''):
    content['colour'] = colour
  replace_file(places['report.json'], (json.dumps(content) + '\n').encode())
  lines = ''.join(json.dumps(entry) + '\n' for entry in account.dropped)
  replace_file(places['dropped.jsonl'], lines.encode())
  sheet = contact_sheet(
    rows, min_height=1, font_size=12, title=f'{stories.name}: first stories'
  )
  notice = {'notice': 'examples of a dataset', 'set': stories.name}
  write_png(places['sheet.png'], sheet, provenance=notice)
  return account


def _write(stories: StorySet, account: Account, put: Put) -> list[Row]:
  """Write every story that can be decoded; return rows of a sheet."""
  rows: list[Row] = []
  found = list(stories.stories(account))
  for story in progress.bar(found, total=len(found), unit='story'):
    try:
      scenes = story.scenes()
    except schema.DecodeError as error:
      account.drop(story.split, story.id, error.reason, error.detail)
      continue
    put(story, scenes)
    account.keep(story)
    if account.kept[story.split] <= _SHOWN:
      first = [resized(frames[:1], _SHEET_SIDE)[0] for frames in scenes]
      texts = ' / '.join(story.captions)
      rows.append((f'{story.split} {story.id}: {texts}', first))
  if not rows:
    reasons = '; '.join(line.strip() for line in account.lines())
    raise UserError(f'no story can be used: {reasons}')
  return rows


@contextlib.contextmanager
def _file(stories: StorySet, out: pathlib.Path, form: Form) -> Iterator[Put]:
  """Yield what writes a story to an HDF5 file."""
  check_extra('an HDF5 file', 'h5py', extra='stories')
  from phenaki_jax.data.story_sets.exchange import ExchangeWriter

  with ExchangeWriter(
    out, name=stories.name, characters=stories.characters
  ) as file:

    def put(story: Story, scenes: tuple[SceneU8, ...]) -> None:
      if form.size:
        scenes = tuple(resized(frames, form.size) for frames in scenes)
      file.write(story, scenes)

    yield put


@contextlib.contextmanager
def _folder(stories: StorySet, out: pathlib.Path, form: Form) -> Iterator[Put]:
  """Yield what writes a story in the stories layout, one folder per split."""
  lines: dict[str, list[str]] = {}
  names = stories.characters
  with staged_folder(out) as staged:
    folder = pathlib.Path(staged)

    def put(story: Story, scenes: tuple[SceneU8, ...]) -> None:
      written = lines.setdefault(story.split, [])
      video = f'videos/s{len(written):05d}.mp4'
      count = form.frames
      film = np.concatenate(
        [resized(evenly(frames, count), form.film_size) for frames in scenes]
      )
      write_mp4(
        folder / story.split / video,
        film,
        fps=form.fps,
        provenance={'notice': f'a story of the set {stories.name}'},
        min_height=1,
      )
      entries: list[dict[str, Any]] = [
        {'prompt': text, 'start_frame': i * count, 'end_frame': (i + 1) * count}
        for i, text in enumerate(story.captions)
      ]
      for entry, labels in zip(entries, story.labels or (), strict=False):
        entry['characters'] = [
          name for name, flag in zip(names, labels, strict=True) if flag
        ]
      line = {'story_id': story.id, 'video': video, 'scenes': entries}
      written.append(json.dumps(line) + '\n')

    yield put
    for split, found in lines.items():
      path = folder / split / 'stories.jsonl'
      path.write_text(''.join(found), encoding='utf-8')


def evenly(frames: VideoU8, count: int) -> UInt8[np.ndarray, 'frames H W 3']:
  """Return `count` frames in order, each taken equally often up to one."""
  return frames[np.arange(count) * len(frames) // count]


def resized(
  frames: VideoU8, side: int
) -> UInt8[np.ndarray, 'T rows columns 3']:
  """Resize frames to cover a square, and crop its centre."""
  return np.stack(
    [transforms.fit(Image.fromarray(frame), (side, side)) for frame in frames]
  )
