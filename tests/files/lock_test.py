"""One directory, one run."""

import pytest

from phenaki_jax.files.lock import run_lock


def test_a_second_run_is_refused_until_the_first_leaves(tmp_path):
  with run_lock(tmp_path / 'run'):
    with pytest.raises(ValueError, match='Another run is writing'):
      with run_lock(tmp_path / 'run'):
        pass
  with run_lock(tmp_path / 'run'):
    assert (tmp_path / 'run').is_dir()
