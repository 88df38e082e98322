"""Appending, locally and where nothing can be appended to."""

import pytest

from phenaki_jax.files import append as append_lib


@pytest.mark.parametrize('remote', [False, True])
def test_text_follows_text(tmp_path, monkeypatch, remote):
  monkeypatch.setattr(append_lib, 'is_remote', lambda path: remote)
  path = tmp_path / 'new' / 'lines'
  append_lib.append(path, 'one\n')
  append_lib.append(path, 'two\n')
  assert path.read_text() == 'one\ntwo\n'
