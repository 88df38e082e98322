"""Exit codes, and which errors end in one sentence."""

import argparse
import errno
import io
import os
import signal
import subprocess
import sys
import time

import jax
import pytest

from phenaki_jax.cli import exits
from phenaki_jax.errors import NotFoundError, UserError


def _run(error):
  def fail(args):
    raise error

  return exits.run(argparse.Namespace(command='train', run=fail))


@pytest.mark.parametrize(
  ('error', 'sentence'),
  [
    (OSError(errno.ENOSPC, 'No space left', 'x'), 'the disk is full'),
    (OSError(errno.EACCES, 'Denied', '/x/y'), 'Denied: /x/y'),
    (UserError('two\n  lines'), 'two lines'),
    (UserError(), 'UserError'),
    (NotFoundError('there is no x'), 'there is no x'),
    (FloatingPointError('step 3 is not finite'), 'step 3 is not finite'),
    (MemoryError(), 'out of memory'),
    (ImportError('Please install gcsfs'), 'a path in gs:// needs'),
    (ImportError('Install s3fs to access S3'), 'a path in s3:// needs'),
  ],
)
def test_errors_of_the_user_end_in_a_sentence(error, sentence, capsys):
  assert _run(error) == 2
  said = capsys.readouterr().err
  assert said.startswith(f'phenaki train: {sentence}') and said.count('\n') == 1


@pytest.mark.parametrize(
  'error',
  [
    ValueError('shapes differ'),
    OSError('cannot identify image file'),
    AssertionError(),
    KeyError('width'),
  ],
  ids=repr,
)
def test_bugs_keep_their_stack_trace(error):
  with pytest.raises(type(error)) as caught:
    _run(error)
  assert caught.value is error


def test_stack_trace_of_a_user_error_is_shown_on_request(monkeypatch):
  monkeypatch.setenv('PHENAKI_TRACEBACK', '1')
  with pytest.raises(UserError, match='wrong'):
    _run(UserError('wrong'))


def test_memory_of_a_device_that_ran_out_ends_in_a_sentence():
  with pytest.raises(jax.errors.JaxRuntimeError) as caught:
    jax.numpy.zeros((1 << 25, 1 << 25)).block_until_ready()
  assert exits.sentence(caught.value).startswith('out of memory')


@pytest.mark.parametrize(('given', 'code'), [(None, 0), (0, 0), (75, 75)])
def test_exit_code_is_that_of_the_command(given, code):
  arguments = argparse.Namespace(command='train', run=lambda args: given)
  assert exits.run(arguments) == code


@pytest.mark.parametrize(
  ('number', 'code'), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_signals_unwind_the_stack(number, code, capsys):
  unwound = []

  def command(args):
    try:
      os.kill(os.getpid(), number)
    finally:
      unwound.append(True)

  before = signal.getsignal(number)
  arguments = argparse.Namespace(command='story', run=command)
  assert exits.run(arguments) == code
  assert unwound and signal.getsignal(number) is before
  assert f'stopped by {number.name}' in capsys.readouterr().err


def test_a_signal_in_a_finalizer_unwinds_the_stack_too(capsys):
  class Finalized:
    def __del__(self):
      signal.raise_signal(signal.SIGTERM)

  def command(args):
    del args
    Finalized()  # Python drops what its finalizer raises.
    time.sleep(60)

  arguments = argparse.Namespace(command='story', run=command)
  assert exits.run(arguments) == 128 + signal.SIGTERM
  assert 'Traceback' not in capsys.readouterr().err


def test_standard_error_that_fails_does_not_end_a_command(monkeypatch):
  class Closed(io.StringIO):
    def write(self, text):
      raise OSError(errno.EIO, 'Input/output error')

  monkeypatch.setattr(sys, 'stderr', Closed())
  arguments = argparse.Namespace(
    command='train', run=lambda args: print('saving', file=sys.stderr) or 75
  )
  assert exits.run(arguments) == 75


# (shell redirection, exit code, what is still printed)
STREAMS = {
  'stdout closed': ('>&-', 0, ''),
  'stderr closed': ('2>&-', 0, 'phenaki'),
  'both closed': ('>&- 2>&-', 0, ''),
  'stderr full': ('2>/dev/full', 0, 'phenaki'),
  'stdout full': ('>/dev/full', 2, 'the disk is full'),
}
_COMMAND = """
import argparse, sys
from phenaki_jax.cli import exits
def command(args):
  with open(sys.argv[1], 'w') as file:
    assert file.fileno() > 2
  print('work', file=sys.stderr)
  print('phenaki')
sys.exit(exits.run(argparse.Namespace(command='story', run=command)))
"""


@pytest.mark.parametrize(
  ('where', 'code', 'words'), STREAMS.values(), ids=STREAMS
)
def test_closed_and_full_streams_leave_no_stack_trace(
  tmp_path, where, code, words
):
  ended = subprocess.run(
    ['sh', '-c', f'"$0" -c "$1" "$2" {where}', sys.executable, _COMMAND, 'x'],
    cwd=tmp_path,
    capture_output=True,
    text=True,
  )
  assert ended.returncode == code
  printed = ended.stdout + ended.stderr
  assert words in printed and 'Traceback' not in printed
  assert (tmp_path / 'x').is_file()


def test_backend_that_does_not_exist_is_named():
  code = """
import argparse, sys
from phenaki_jax.cli import exits
def command(args):
  import jax
  jax.numpy.zeros(3)
sys.exit(exits.run(argparse.Namespace(command='train', run=command)))
"""
  ended = subprocess.run(
    [sys.executable, '-c', code],
    env={**os.environ, 'JAX_PLATFORMS': 'nothing'},
    capture_output=True,
    text=True,
  )
  assert ended.returncode == 2
  assert ended.stderr.startswith(
    'phenaki train: JAX cannot use JAX_PLATFORMS=nothing'
  )
  assert ended.stderr.count('\n') == 1
