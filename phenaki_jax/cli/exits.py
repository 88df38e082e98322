"""How a command ends: its exit code, and one sentence for errors of the user.

A UserError, an OSError of the operating system, memory that ran out and a loss
that is not finite end in one sentence and exit code 2. Every other exception is
a bug of ours and keeps its stack trace. `PHENAKI_TRACEBACK=1` shows the stack
trace of all errors.
"""

import argparse
import contextlib
import errno
import os
import signal
import sys
import threading
import types
from collections.abc import Iterator

from phenaki_jax.errors import UserError

_FAILED = 2


class _Terminated(KeyboardInterrupt):
  """Unwinds the stack after SIGTERM, as KeyboardInterrupt does after Ctrl-C."""


def run(args: argparse.Namespace) -> int:
  """Run the command that was parsed and return its exit code.

  Args:
    args: `command` is the name of the command, `run` its function.

  Returns:
    0 when done, 2 after an error that the user can correct, 130 after Ctrl-C,
    143 after SIGTERM, or what the command itself returns.
  """
  try:
    with _sigterm_raised():
      code = args.run(args)
    sys.stdout.flush()
    return code or 0
  except KeyboardInterrupt as stop:
    is_term = isinstance(stop, _Terminated)
    name = 'SIGTERM' if is_term else 'Ctrl-C'
    _print(args.command, f'stopped by {name}; what was saved before is kept')
    return 128 + (signal.SIGTERM if is_term else signal.SIGINT)
  except BrokenPipeError:
    # The reader of our output is gone (`| head`); flushing must not fail.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + signal.SIGPIPE
  except Exception as error:
    message = sentence(error)
    if message is None or os.environ.get('PHENAKI_TRACEBACK') == '1':
      raise
    _print(args.command, message)
    return _FAILED


def sentence(error: Exception) -> str | None:
  """Return one line for the user, or None for an error that is a bug."""
  # By name, because not every command imports jax.
  if isinstance(error, MemoryError) or (
    type(error).__name__ in ('JaxRuntimeError', 'XlaRuntimeError')
    and 'RESOURCE_EXHAUSTED' in str(error)
  ):
    return (
      'out of memory; use a smaller batch, model or frame size, or a device '
      'with more memory'
    )
  if isinstance(error, OSError) and error.errno is not None:
    if error.errno == errno.ENOSPC:
      return (
        'the disk is full; free some space and run the same command again '
        '(what was saved before is kept)'
      )
    place = f': {error.filename}' if error.filename else ''
    return f'{error.strerror}{place}'
  if isinstance(error, UserError | FloatingPointError):
    return ' '.join(str(error).split()) or type(error).__name__
  return None


@contextlib.contextmanager
def _sigterm_raised() -> Iterator[None]:
  """Raise on SIGTERM, so that unfinished files are removed.

  Training replaces this handler by its own.
  """

  def stop(number: int, frame: types.FrameType | None) -> None:
    del number, frame
    raise _Terminated

  if threading.current_thread() is not threading.main_thread():
    yield  # Only the main thread may install signal handlers.
    return
  before = signal.signal(signal.SIGTERM, stop)
  try:
    yield
  finally:
    signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _print(command: str, message: str) -> None:
  print(f'phenaki {command}: {message}', file=sys.stderr, flush=True)
