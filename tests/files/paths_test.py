import os
import pathlib

import pytest

from phenaki_jax.errors import UserError
from phenaki_jax.files.paths import (
  absolute,
  data_path,
  film_paths,
  is_remote,
  local_path,
  writable,
)


@pytest.mark.parametrize('path', ['gs://bucket/run', '/runs/a', 'runs/a', '.'])
def test_absolute_paths_do_not_depend_on_the_working_directory(path):
  found = str(absolute(path))
  assert is_remote(path) == path.startswith('gs')
  assert found == (path if is_remote(path) else os.path.abspath(path))


def test_path_objects_are_accepted(tmp_path):
  assert absolute(tmp_path / 'a') == tmp_path / 'a'
  assert not is_remote(pathlib.Path('a'))


def test_local_data_have_ordinary_paths(tmp_path):
  found = data_path(str(tmp_path / 'a'))
  assert type(found) is type(tmp_path) and found == tmp_path / 'a'


@pytest.mark.parametrize('url', ['http://host/a', 'gs://bucket/a', 's3://b/a'])
def test_remote_data_have_the_interface_of_paths(url):
  found = data_path(url)
  assert is_remote(found) and str(found) == url
  assert str(found / 'b.tar') == f'{url}/b.tar'
  assert (found / 'b.tar').name == 'b.tar' and (found / 'b.tar').stem == 'b'
  assert str(found.absolute()) == url


def test_what_must_be_local_says_so():
  assert local_path('~/a', 'the film') == pathlib.Path.home() / 'a'
  with pytest.raises(UserError, match='the film is gs://b/a.mp4, but must be'):
    local_path('gs://b/a.mp4', 'the film')


def test_a_film_replaces_nothing_that_is_read(tmp_path):
  out = tmp_path / 'a.mp4'
  paths = film_paths(out, ('.mp4', '.npy'), inputs=[tmp_path / 'b.npy'])
  assert paths == [out, tmp_path / 'a.npy']
  for name in ('a.mp4', 'a.npy'):
    with pytest.raises(UserError, match=rf'would replace .*{name}, which is'):
      film_paths(out, ('.mp4', '.npy'), inputs=[tmp_path / name])
  with pytest.raises(UserError, match=r'it must end in .mp4 .*\.npy are named'):
    film_paths(tmp_path / 'a.gif', ('.mp4', '.npy'))


def test_nothing_is_written_to_a_web_server():
  with pytest.raises(UserError, match='http://host/a cannot be written to'):
    writable('http://host/a')
  assert str(writable('s3://bucket/a')) == 's3://bucket/a'
