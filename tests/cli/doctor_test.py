"""`phenaki doctor` as a user calls it."""

from phenaki_jax.cli import main as main_lib


def test_problems_are_marked_and_are_the_exit_code(tmp_path, capsys):
  assert main_lib.main(['doctor', '--workdir', str(tmp_path)]) == 0
  assert 'devices: 8 of cpu' in capsys.readouterr().out
  (tmp_path / 'file').write_text('')
  assert main_lib.main(['doctor', '--workdir', str(tmp_path / 'file')]) == 1
  assert f'! folder {tmp_path / "file"}' in capsys.readouterr().out
