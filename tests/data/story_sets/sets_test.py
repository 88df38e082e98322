"""Every set opens by its name; files open as the exchange format."""

import sys

import pytest

from phenaki_jax.data.story_sets import sets
from phenaki_jax.data.story_sets.exchange import ExchangeWriter
from phenaki_jax.data.story_sets.story import Account, StorySet


def test_every_folder_opens_by_its_name(releases):
  for name in sets.NAMES[:-1]:
    folder = getattr(releases, name.partition('-')[0]).folder
    found = sets.open_set(name, folder)
    assert isinstance(found, StorySet)
    assert found.name == name
    assert list(found.stories(Account()))


def test_files_open_in_the_exchange_format(tmp_path):
  path = tmp_path / 'stories.h5'
  with ExchangeWriter(path, name='x'):
    pass
  for name in ('hdf5', 'pororo', 'vist-dii'):
    found = sets.open_set(name, path)
    assert found.name == 'hdf5'
    found.close()


def test_a_missing_h5py_is_named(monkeypatch):
  monkeypatch.setitem(sys.modules, 'h5py', None)
  with pytest.raises(ValueError, match='an HDF5 file needs h5py; run'):
    sets.open_set('hdf5', 'a.h5')
