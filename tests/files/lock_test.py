"""Two runs cannot write to one directory."""

import pytest

from phenaki_jax.errors import UserError
from phenaki_jax.files.lock import run_lock


def test_second_run_is_refused_until_the_first_ends(tmp_path):
  with run_lock(tmp_path / 'run'):
    with pytest.raises(UserError, match='Another run is writing'):
      with run_lock(tmp_path / 'run'):
        pass
  with run_lock(tmp_path / 'run'):
    assert (tmp_path / 'run').is_dir()


def test_bucket_is_not_locked_and_this_is_logged_once(bucket, caplog):
  for _ in range(2):
    with run_lock(bucket / 'run'):
      pass
  assert caplog.text.count('gs://bucket/run cannot be locked') == 1
