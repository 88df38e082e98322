"""Files and folders are replaced completely or not at all."""

import pytest
from etils import epath

from phenaki_jax.files.atomic import (
  recover,
  replace_file,
  staged_file,
  staged_files,
  staged_folder,
  sweep,
  sweep_folder,
)


def _names(folder):
  return sorted(path.name for path in folder.iterdir())


class TestFiles:
  def test_content_is_replaced_and_nothing_else_is_left(self, tmp_path):
    path = tmp_path / 'new' / 'a.json'
    replace_file(path, b'old')
    replace_file(path, b'new')
    assert path.read_bytes() == b'new'
    assert _names(path.parent) == ['a.json']

  def test_failed_write_leaves_old_content(self, tmp_path):
    path = tmp_path / 'a.json'
    replace_file(path, b'old')
    with pytest.raises(KeyboardInterrupt), staged_file(path) as part:
      assert part.suffix == '.json' and path.read_bytes() == b'old'
      part.write_bytes(b'half')
      raise KeyboardInterrupt
    assert path.read_bytes() == b'old'
    assert _names(tmp_path) == ['a.json']

  def test_directory_is_not_replaced_by_a_file(self, tmp_path):
    (tmp_path / 'a.json').mkdir()
    with pytest.raises(OSError):
      replace_file(tmp_path / 'a.json', b'new')
    assert _names(tmp_path) == ['a.json']
    assert (tmp_path / 'a.json').is_dir()

  def test_file_has_the_usual_permissions(self, tmp_path):
    (tmp_path / 'usual').touch()
    replace_file(tmp_path / 'a.json', b'new')
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1

  def test_several_files_appear_together(self, tmp_path):
    paths = [tmp_path / 'a', tmp_path / 'b']
    with staged_files(*paths) as folder:
      for path in paths:
        (folder / path.name).write_text(path.name)
      assert not any(path.exists() for path in paths)
    assert [path.read_text() for path in paths] == ['a', 'b']

  def test_missing_file_of_several_keeps_all_old_ones(self, tmp_path):
    paths = [tmp_path / 'a', tmp_path / 'b']
    for path in paths:
      path.write_text('old')
    with pytest.raises(FileNotFoundError), staged_files(*paths) as folder:
      (folder / 'a').write_text('new')
    assert [path.read_text() for path in paths] == ['old', 'old']
    assert _names(tmp_path) == ['a', 'b']


class TestFolder:
  def test_folder_appears_completely(self, tmp_path):
    out = tmp_path / 'a' / 'out'
    with staged_folder(out) as folder:
      (folder / 'new').write_text('1')
      assert not out.exists()
    assert _names(out) == ['new']
    assert _names(out.parent) == ['out']
    assert out.stat().st_mode & 0o777 == 0o755

  @pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt])
  def test_old_folder_stays_after_any_error(self, tmp_path, error):
    out = tmp_path / 'out'
    out.mkdir()
    (out / 'old').write_text('0')
    with pytest.raises(error), staged_folder(out) as folder:
      (folder / 'new').write_text('1')
      raise error
    assert _names(out) == ['old']
    assert _names(tmp_path) == ['out']

  def test_old_folder_is_replaced(self, tmp_path):
    out = tmp_path / 'out'
    for name in ('one', 'two'):
      with staged_folder(out) as folder:
        (folder / name).write_text('')
    assert _names(out) == ['two']
    assert _names(tmp_path) == ['out']

  def test_kill_between_the_two_renames_loses_nothing(self, tmp_path):
    out = tmp_path / 'out'
    moved = tmp_path / '.out.previous'
    moved.mkdir()
    (moved / 'old').write_text('0')
    recover(out)
    assert (out / 'old').is_file() and not moved.exists()


class TestBucket:
  def test_file_is_replaced(self, bucket):
    path = bucket / 'run' / 'a.json'
    replace_file(path, b'old')
    replace_file(path, b'new')
    assert path.read_bytes() == b'new'
    assert _names(path.parent) == ['a.json']

  def test_folder_is_replaced(self, bucket):
    out = bucket / 'run' / 'out'
    for name in ('one', 'two'):
      with staged_folder(out) as folder:
        (folder / name).write_text(name)
    assert _names(out) == ['two']
    assert (out / 'two').read_text() == 'two'
    assert _names(out.parent) == ['out']

  def test_an_interrupted_folder_lacks_its_last_file(
    self, bucket, monkeypatch, tmp_path
  ):
    out, copied = bucket / 'run' / 'out', []
    local = type(epath.Path(tmp_path))
    copy = local.copy

    def fails(self, *args, **options):
      copied.append(self.name)
      if self.name == 'z':
        raise ConnectionError
      return copy(self, *args, **options)

    monkeypatch.setattr(local, 'copy', fails)
    with pytest.raises(ConnectionError):
      with staged_folder(out, last='a') as folder:
        for name in 'zab':
          (folder / name).write_text(name)
    assert copied == ['b', 'z'] and _names(out) == ['b']


def test_leftovers_of_one_path_are_swept(tmp_path):
  leftovers = ['.a[1].json.part-0f', '.a[1].json.building-1']
  for name in (*leftovers, '.a1.json.part-2'):
    (tmp_path / name).mkdir()
    (tmp_path / name / 'half').touch()
  sweep(tmp_path / 'a[1].json')
  assert _names(tmp_path) == ['.a1.json.part-2']


def test_leftovers_of_all_files_of_a_folder_are_deleted(tmp_path):
  sweep_folder(tmp_path / 'missing')
  for name in ('.a.json.part-1', '.b.png.part-2', '.c.building-3'):
    (tmp_path / name).mkdir()
    (tmp_path / name / 'half').touch()
  (tmp_path / 'a.json').touch()
  sweep_folder(tmp_path)
  assert _names(tmp_path) == ['.c.building-3', 'a.json']
