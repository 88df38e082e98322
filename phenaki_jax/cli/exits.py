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
from typing import Any

from phenaki_jax.errors import UserError
from phenaki_jax.extras import needs

_FAILED = 2
# Seconds after which a signal whose exception was dropped is sent again.
_AGAIN = 0.1
# The packages that raise errors about remote files and credentials.
_REMOTE = ('gcsfs', 'google', 'aiohttp', 's3fs', 'botocore')
_PACKAGES = {'gs://': 'gcsfs', 's3://': 's3fs', 'http(s)://': 'aiohttp'}


class _Terminated(KeyboardInterrupt):
  """Unwinds the stack after a signal, as KeyboardInterrupt does after Ctrl-C.

  Attributes:
    number: the signal.
  """

  def __init__(self, number: int) -> None:
    super().__init__()
    self.number = signal.Signals(number)


def run(args: argparse.Namespace) -> int:
  """Run the command that was parsed and return its exit code.

  Args:
    args: `command` and `action`, if there is one, name the command, and `run`
      is its function.

  Returns:
    0 when done, 2 after an error that the user can correct, 130 after Ctrl-C,
    143 after SIGTERM, 129 after SIGHUP, or what the command itself returns.
  """
  with _open_streams():
    try:
      with _signals_raised():
        code = args.run(args)
      sys.stdout.flush()
      return code or 0
    except KeyboardInterrupt as stop:
      number, name = signal.SIGINT, 'Ctrl-C'
      if isinstance(stop, _Terminated):
        number, name = stop.number, stop.number.name
      _print(args, f'stopped by {name}; what was saved before is kept')
      return 128 + number
    except BrokenPipeError:
      # The reader of our output is gone (`| head`); flushing must not fail.
      _silence(sys.stdout)
      return 128 + signal.SIGPIPE
    except Exception as error:
      try:
        sys.stdout.flush()
      except (OSError, ValueError):
        _silence(sys.stdout)  # Python flushes it again when it ends.
      message = sentence(error)
      if message is None or os.environ.get('PHENAKI_TRACEBACK') == '1':
        raise
      _print(args, message)
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
  if isinstance(error, ImportError):
    for scheme, package in _PACKAGES.items():
      if package in str(error):
        return needs(f'a path in {scheme}', package, extra='remote')
  if isinstance(error, ConnectionError) and ' cannot be read: ' in str(error):
    return ' '.join(str(error).split())[:300]
  if type(error).__module__.partition('.')[0] in _REMOTE:
    return f'remote files cannot be used: {" ".join(str(error).split())[:300]}'
  if isinstance(error, UserError | FloatingPointError):
    return ' '.join(str(error).split()) or type(error).__name__
  return _backend_sentence()


def _backend_sentence() -> str | None:
  """Return a sentence if JAX has no device, regardless of the error."""
  jax = sys.modules.get('jax')
  platforms = os.environ.get('JAX_PLATFORMS')
  if jax is None or not platforms:
    return None
  try:
    jax.devices()
  except Exception as error:
    reason = ' '.join(str(error).split()) or 'there is no such device'
    return (
      f'JAX cannot use JAX_PLATFORMS={platforms}: {reason.rstrip(".")}. Set it '
      'to cpu, or unset it to use the best device'
    )
  return None


@contextlib.contextmanager
def _signals_raised() -> Iterator[None]:
  """Raise on SIGTERM and SIGHUP, so that unfinished files are removed.

  Training replaces these handlers by its own. A SIGHUP that `nohup` ignores
  stays ignored. Python drops an exception that is raised in a finalizer or in a
  callback of the garbage collector; the signal is then sent again.
  """

  def stop(number: int, frame: types.FrameType | None) -> None:
    del frame
    raise _Terminated(number)

  dropped = sys.unraisablehook

  def send_again(unraisable: Any) -> None:
    error = unraisable.exc_value
    if not isinstance(error, _Terminated):
      dropped(unraisable)
      return
    threading.Timer(_AGAIN, os.kill, (os.getpid(), error.number)).start()

  if threading.current_thread() is not threading.main_thread():
    yield  # Only the main thread may install signal handlers.
    return
  before = {
    number: signal.signal(number, stop)
    for number in (signal.SIGTERM, signal.SIGHUP)
    if signal.getsignal(number) != signal.SIG_IGN
  }
  sys.unraisablehook = send_again
  try:
    yield
  finally:
    sys.unraisablehook = dropped
    for number, handler in before.items():
      signal.signal(number, handler or signal.SIG_DFL)


class _Unbreakable:
  """A text stream whose writes never fail, so that they cannot end a run.

  A terminal may be closed and a pipe may lose its reader during long work.
  """

  def __init__(self, stream: Any) -> None:
    self._stream = stream

  def __getattr__(self, name: str) -> Any:
    return getattr(self._stream, name)

  def write(self, text: str) -> int:
    try:
      return self._stream.write(text)
    except (OSError, ValueError):
      _silence(self._stream)
      return len(text)

  def flush(self) -> None:
    try:
      self._stream.flush()
    except (OSError, ValueError):
      _silence(self._stream)


@contextlib.contextmanager
def _open_streams() -> Iterator[None]:
  """Make standard output and error usable where they were closed."""
  # Otherwise the next file that is opened becomes standard output or error.
  while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
    pass
  os.close(descriptor)
  for name in ('stdout', 'stderr'):
    if getattr(sys, name) is None:
      setattr(sys, name, open(os.devnull, 'w'))
  before = sys.stderr
  sys.stderr = _Unbreakable(before)  # type: ignore[assignment]
  try:
    yield
  finally:
    sys.stderr.flush()
    sys.stderr = before


def _silence(stream: Any) -> None:
  """Discard the buffer and all output of a stream that cannot be written."""
  with contextlib.suppress(OSError, ValueError):
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _print(args: argparse.Namespace, message: str) -> None:
  words = ['phenaki', args.command, getattr(args, 'action', '')]
  name = ' '.join(filter(None, words))
  print(f'{name}: {message}', file=sys.stderr, flush=True)
