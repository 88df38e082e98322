"""The command line: one parser, one table of commands.

Each command is a module of this package with a docstring, `EXAMPLES`,
`add_arguments(parser)` and `run(args) -> int | None`. A module is imported
only when its command is called, and imports what is heavy inside `run`, so
that help is quick. What a user can mend (a ValueError, an OSError, the
package's own exceptions) ends in one sentence and exit code 2;
`PHENAKI_TRACEBACK=1` shows the stack as well.
"""

import argparse
import contextlib
import errno
import importlib
import inspect
import logging
import os
import signal
import sys
import threading
import types
from collections.abc import Iterator, Mapping, Sequence

import phenaki_jax
from phenaki_jax.cli.huge_pages import start_with_huge_pages
from phenaki_jax.errors import UserError

COMMANDS: Mapping[str, str] = types.MappingProxyType(
  {
    'data': 'build, check and look at data; write StoryWorld to disk',
    'train': 'train the tokenizer, then the generator on its tokens',
    'story': 'tell a story: one prompt a scene, one film of all of them',
    'evaluate': 'ask the oracle how well a model knows StoryWorld',
    'export': 'make a bundle of a trained generator and its tokenizer',
  }
)
"""The commands by name, each with what it does; the module has its name."""

_EPILOG = """\
Each command explains itself: phenaki COMMAND --help.
Set PHENAKI_TRACEBACK=1 to see the stack of an error.
"""

_FAILED = 2
_INTERRUPTED = 128 + signal.SIGINT
_TERMINATED = 128 + signal.SIGTERM
_PIPE_CLOSED = 128 + signal.SIGPIPE


class _Terminated(BaseException):
  """Unwind the stack after SIGTERM, as KeyboardInterrupt does after Ctrl-C."""


def main(argv: Sequence[str] | None = None) -> int:
  """Run one command and return its exit code.

  Args:
    argv: the arguments after the program's name. When None, this is a program
      of its own: it takes `sys.argv` and begins by starting itself anew with
      huge pages.

  Returns:
    0 when done, 2 after an error that the user can mend, 130 after Ctrl-C,
    143 after SIGTERM, or what the command itself returns.
  """
  if argv is None:
    start_with_huge_pages()
    argv = sys.argv[1:]
  argv = list(argv)
  parser = make_parser(argv)
  args = parser.parse_args(argv)
  if args.command is None:
    parser.print_help()
    return 0
  _set_up_logging()
  try:
    with _termination_raised():
      code = args.run(args)
    sys.stdout.flush()
    return code or 0
  except _Terminated:
    _say(args.command, 'stopped by SIGTERM; what was saved before is kept')
    return _TERMINATED
  except KeyboardInterrupt:
    _say(args.command, 'stopped by Ctrl-C; what was saved before is kept')
    return _INTERRUPTED
  except BrokenPipeError:
    # The reader of our output has left (`| head`); say nothing more to it.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return _PIPE_CLOSED
  except Exception as error:
    if not _is_for_user(error) or os.environ.get('PHENAKI_TRACEBACK') == '1':
      raise
    _say(args.command, sentence(error))
    return _FAILED


def make_parser(argv: Sequence[str]) -> argparse.ArgumentParser:
  """Make the parser; of the commands only the one in `argv` is imported."""
  parser = argparse.ArgumentParser(
    prog='phenaki',
    description='Train Phenaki on captioned clips and images; tell stories.',
    epilog=_EPILOG,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument(
    '--version', action='version', version=phenaki_jax.__version__
  )
  commands = parser.add_subparsers(
    dest='command', metavar='COMMAND', title='commands'
  )
  for name, summary in COMMANDS.items():
    if name not in argv:
      commands.add_parser(name, help=summary)
      continue
    module = importlib.import_module(f'phenaki_jax.cli.{name}')
    command = commands.add_parser(
      name,
      help=summary,
      description=inspect.getdoc(module),
      epilog='examples:\n' + inspect.cleandoc(module.EXAMPLES),
      formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(command)
    command.set_defaults(run=module.run)
  return parser


@contextlib.contextmanager
def _termination_raised() -> Iterator[None]:
  """Let SIGTERM clean up what is half made; training has a way of its own."""

  def stop(number: int, frame: types.FrameType | None) -> None:
    del number, frame
    raise _Terminated

  if threading.current_thread() is not threading.main_thread():
    yield  # Only the main thread may ask for signals.
    return
  before = signal.signal(signal.SIGTERM, stop)
  try:
    yield
  finally:
    signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _set_up_logging() -> None:
  """Show our own messages, and only the warnings of what we stand on."""
  logging.basicConfig(format='%(message)s', level=logging.WARNING)
  logging.getLogger('phenaki_jax').setLevel(logging.INFO)


def _is_for_user(error: Exception) -> bool:
  """Say whether an error is the user's to mend, and not a fault of ours."""
  return _is_out_of_memory(error) or isinstance(
    error, UserError | OSError | FloatingPointError
  )


def _is_out_of_memory(error: Exception) -> bool:
  # By name, because jax is not loaded by every command.
  return isinstance(error, MemoryError) or (
    type(error).__name__ in ('JaxRuntimeError', 'XlaRuntimeError')
    and 'RESOURCE_EXHAUSTED' in str(error)
  )


def sentence(error: Exception) -> str:
  """Turn an error into one line for the user."""
  if _is_out_of_memory(error):
    return (
      'out of memory; take a smaller batch, model or picture, or a device '
      'with more'
    )
  if isinstance(error, OSError) and error.errno is not None:
    if error.errno == errno.ENOSPC:
      return (
        'the disk is full; make room and run the same command again '
        '(what was saved before is kept)'
      )
    place = f': {error.filename}' if error.filename else ''
    return f'{error.strerror}{place}'
  return ' '.join(str(error).split()) or type(error).__name__


def _say(command: str, sentence: str) -> None:
  print(f'phenaki {command}: {sentence}', file=sys.stderr, flush=True)
