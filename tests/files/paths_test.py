import os
import pathlib

import pytest

from phenaki_jax.files.paths import absolute, is_remote


@pytest.mark.parametrize('path', ['gs://bucket/run', '/runs/a', 'runs/a', '.'])
def test_absolute_paths_do_not_depend_on_the_working_directory(path):
  found = str(absolute(path))
  assert is_remote(path) == path.startswith('gs')
  assert found == (path if is_remote(path) else os.path.abspath(path))


def test_path_objects_are_accepted(tmp_path):
  assert absolute(tmp_path / 'a') == tmp_path / 'a'
  assert not is_remote(pathlib.Path('a'))
