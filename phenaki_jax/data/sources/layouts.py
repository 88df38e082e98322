"""The folders that `phenaki data build` reads, by layout."""

import functools
import pathlib
from collections.abc import Callable

from phenaki_jax.data.sources import (
  base,
  img2dataset,
  jsonl,
  stories,
  tfds,
  webvid,
)

FOLDERS = ('webvid', 'img2dataset', 'jsonl', 'stories', 'tfds')


def opener(
  layout: str, folder: str, *, tfds_split: str = 'train', tfds_fps: float = 30.0
) -> Callable[[pathlib.Path], base.Source]:
  """Return a function that opens a folder, given that of tar indices.

  Args:
    layout: one of `FOLDERS`.
    folder: to open.
    tfds_split, tfds_fps: the split and the frames per second of a TFDS set.
  """
  return functools.partial(_open, layout, folder, tfds_split, tfds_fps)


def _open(
  layout: str, folder: str, split: str, fps: float, indices: pathlib.Path
) -> base.Source:
  if layout == 'webvid':
    return webvid.WebVid(folder)
  if layout == 'img2dataset':
    return img2dataset.Img2Dataset(folder, index_folder=indices)
  if layout == 'jsonl':
    return jsonl.JsonLines(folder)
  if layout == 'stories':
    return stories.Stories(folder)
  assert layout == 'tfds', layout
  return tfds.Tfds(tfds.TfdsReader(folder=folder, split=split, fps=fps))
