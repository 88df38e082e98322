"""A bucket in memory, behind the same interface as `gs://`."""

import fsspec
import fsspec.implementations.memory
import pytest
from etils import epath
from etils.epath import gpath


class Bucket(fsspec.implementations.memory.MemoryFileSystem):
  protocol = 'gs'
  store = {}
  pseudo_dirs = ['']

  @classmethod
  def _strip_protocol(cls, path):
    return super()._strip_protocol(str(path).removeprefix('gs://'))


@pytest.fixture
def bucket(monkeypatch):
  """Yield the root of an empty bucket."""
  monkeypatch.setenv('EPATH_USE_TF', 'false')
  gpath._is_tf_installed.cache_clear()
  fsspec.register_implementation('gcs', Bucket, clobber=True)
  Bucket.store.clear()
  Bucket.pseudo_dirs[:] = ['']
  yield epath.Path('gs://bucket')
  gpath._is_tf_installed.cache_clear()
