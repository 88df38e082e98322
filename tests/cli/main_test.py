"""The command line's frame: exit codes, and errors as one sentence."""

import jax
import pytest

from phenaki_jax.cli import main as main_lib

MISSING = ['train', '--config', 'nowhere/x.py', '--workdir', 'unused']


def test_user_error_is_one_sentence_and_exit_code_2(capfd):
  assert main_lib.main(MISSING) == 2
  out, err = capfd.readouterr()
  assert not out
  assert err.startswith('phenaki train: there is no config file nowhere/x.py')
  assert err.count('\n') == 1


def test_traceback_is_shown_when_asked_for(monkeypatch):
  monkeypatch.setenv('PHENAKI_TRACEBACK', '1')
  with pytest.raises(FileNotFoundError, match='no config file'):
    main_lib.main(MISSING)


def test_no_command_prints_the_commands(capfd):
  assert main_lib.main([]) == 0
  out = capfd.readouterr().out
  assert all(f'\n    {name} ' in out for name in main_lib.COMMANDS)


def test_unknown_command_is_refused(capfd):
  with pytest.raises(SystemExit) as stopped:
    main_lib.main(['trian'])
  assert stopped.value.code == 2
  assert "invalid choice: 'trian'" in capfd.readouterr().err


@pytest.mark.parametrize(
  ('error', 'sentence'),
  [
    (OSError(28, 'No space left on device', 'x'), 'the disk is full'),
    (OSError(13, 'Permission denied', '/x/y'), 'Permission denied: /x/y'),
    (ValueError('two\n  lines'), 'two lines'),
    (ValueError(), 'ValueError'),
  ],
)
def test_errors_become_sentences(error, sentence):
  assert main_lib.sentence(error).startswith(sentence)


def test_out_of_memory_becomes_a_sentence():
  with pytest.raises(jax.errors.JaxRuntimeError) as caught:
    jax.numpy.zeros((1 << 25, 1 << 25)).block_until_ready()
  assert main_lib.sentence(caught.value).startswith('out of memory')
  assert main_lib.sentence(MemoryError()).startswith('out of memory')
