import pytest

from phenaki_jax.files import staging


def test_a_folder_appears_whole(tmp_path):
  out = tmp_path / 'a' / 'out'
  with staging.staged(out) as folder:
    (folder / 'new').write_text('1')
    assert not out.exists()
  assert [path.name for path in out.iterdir()] == ['new']
  assert [path.name for path in out.parent.iterdir()] == ['out']
  assert out.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt])
def test_what_was_there_stays_when_anything_goes_wrong(tmp_path, error):
  out = tmp_path / 'out'
  out.mkdir()
  (out / 'old').write_text('0')
  with pytest.raises(error), staging.staged(out) as folder:
    (folder / 'new').write_text('1')
    raise error
  assert [path.name for path in out.iterdir()] == ['old']
  assert [path.name for path in tmp_path.iterdir()] == ['out']


def test_an_older_folder_is_replaced(tmp_path):
  out = tmp_path / 'out'
  for name in ('one', 'two'):
    with staging.staged(out) as folder:
      (folder / name).write_text('')
  assert [path.name for path in out.iterdir()] == ['two']


def test_a_kill_between_the_two_moves_loses_nothing(tmp_path):
  out = tmp_path / 'out'
  moved = tmp_path / '.out.previous'
  moved.mkdir()
  (moved / 'old').write_text('0')
  staging.recover(out)
  assert (out / 'old').is_file() and not moved.exists()
