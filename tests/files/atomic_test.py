"""A file is replaced whole or not at all."""

import pathlib

import pytest

from phenaki_jax.files.atomic import replace_file


def test_the_content_is_replaced_and_nothing_else_is_left(tmp_path):
  path = tmp_path / 'a.json'
  replace_file(path, b'old')
  replace_file(path, b'new')
  assert path.read_bytes() == b'new'
  assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_content(tmp_path):
  path = tmp_path / 'a.json'
  replace_file(path, b'old')
  (tmp_path / '.a.json.part').mkdir()
  with pytest.raises(OSError):
    replace_file(path, b'new')
  assert path.read_bytes() == b'old'


def test_a_missing_folder_is_an_error(tmp_path):
  with pytest.raises(FileNotFoundError):
    replace_file(pathlib.Path(tmp_path) / 'none' / 'a.json', b'new')
