"""The sets of stories, by name."""

import os
from collections.abc import Callable
from typing import Any

from phenaki_jax.data.story_sets import didemo, flintstones, pororo, vist
from phenaki_jax.data.story_sets.story import StorySet
from phenaki_jax.extras import check_extra

HDF5 = ('.h5', '.hdf5')
"""Suffixes of the exchange format."""

_FOLDERS: dict[str, Callable[[Any], StorySet]] = {
  'pororo': pororo.Pororo,
  'flintstones': flintstones.Flintstones,
  'didemo': didemo.Didemo,
  'vist-sis': lambda folder: vist.Vist(folder, 'sis'),
  'vist-dii': lambda folder: vist.Vist(folder, 'dii'),
}
NAMES = (*_FOLDERS, 'hdf5')
"""What `--set` can be."""


def open_set(name: str, path: str | os.PathLike[str]) -> StorySet:
  """Open a set of stories.

  Args:
    name: one of `NAMES`.
    path: folder of the release, or a file in the exchange format. The names of
      the parts of VIST choose the texts of such a file.

  Raises:
    UserError: it cannot be read.
  """
  if name == 'hdf5' or os.fspath(path).endswith(HDF5):
    check_extra('an HDF5 file', 'h5py', extra='stories')
    from phenaki_jax.data.story_sets.exchange import Exchange

    part = name.removeprefix('vist-') if name.startswith('vist-') else ''
    return Exchange(path, texts=part)
  return _FOLDERS[name](path)
