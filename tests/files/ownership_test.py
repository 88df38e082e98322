"""Folders that others can write to are refused."""

import os

import pytest

from phenaki_jax.errors import UserError
from phenaki_jax.files.ownership import TRUST, check_private


def test_own_and_missing_folders_pass(tmp_path):
  tmp_path.chmod(0o755)
  check_private(tmp_path, name='cache')
  check_private(tmp_path / 'later', name='cache')
  check_private('gs://bucket/cache', name='cache')


@pytest.mark.parametrize('mode', [0o775, 0o757, 0o777, 0o1777])
def test_folder_that_others_may_write_to_is_refused(
  tmp_path, mode, monkeypatch
):
  tmp_path.chmod(mode)
  with pytest.raises(UserError, match=f'cache {tmp_path} has .* {mode:o},'):
    check_private(tmp_path, name='cache')
  monkeypatch.setenv(TRUST, '1')
  check_private(tmp_path, name='cache')


def test_folder_of_another_user_is_refused(tmp_path):
  folder = tmp_path
  if os.getuid() == 0:
    os.chown(tmp_path, 12345, -1)
  else:
    folder = '/'
  with pytest.raises(UserError, match=f'{folder} belongs to user'):
    check_private(folder, name='cache')
