"""The parser of the command line, and the exit codes it leads to."""

import pytest

from phenaki_jax.cli import main as main_lib

MISSING = ['train', '--config', 'nowhere/x.py', '--workdir', 'unused']


def test_user_error_is_one_sentence_and_exit_code_2(capfd):
  assert main_lib.main(MISSING) == 2
  out, err = capfd.readouterr()
  assert not out
  assert err.startswith('phenaki train: there is no config file nowhere/x.py')
  assert err.count('\n') == 1


def test_no_command_prints_the_commands(capfd):
  assert main_lib.main([]) == 0
  out = capfd.readouterr().out
  assert all(f'\n    {name} ' in out for name in main_lib.COMMANDS)


def test_unknown_command_is_refused(capfd):
  with pytest.raises(SystemExit) as stopped:
    main_lib.main(['trian'])
  assert stopped.value.code == 2
  assert "invalid choice: 'trian'" in capfd.readouterr().err
