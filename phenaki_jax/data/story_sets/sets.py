"""The sets of stories, by name."""

import importlib.util
import os
from collections.abc import Callable
from typing import Any

from phenaki_jax.data.story_sets import didemo, flintstones, pororo, vist
from phenaki_jax.data.story_sets.story import StorySet
from phenaki_jax.errors import UserError

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
    check_h5py()
    from phenaki_jax.data.story_sets.exchange import Exchange

    part = name.removeprefix('vist-') if name.startswith('vist-') else ''
    return Exchange(path, texts=part)
  return _FOLDERS[name](path)


def check_h5py() -> None:
  """Check that HDF5 files can be read and written.

  Raises:
    UserError: h5py is not installed.
  """
  if importlib.util.find_spec('h5py') is None:
    raise UserError(
      'HDF5 files need h5py, which is not installed: pip install '
      'phenaki-jax[stories]'
    )
