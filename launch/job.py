"""A job: the phenaki command that all launchers start, and their options.

With --dry-run a launcher prints the commands that it would run.
"""

import argparse
import pathlib
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from accelerators import accelerator

# How a phenaki command ends: see `phenaki train --help`.
DONE, WRONG, PREEMPTED = 0, 2, 75


def parser(doc: str | None, *names: str) -> argparse.ArgumentParser:
  """Return a parser of the options that all launchers have, and of `names`."""
  result = argparse.ArgumentParser(
    description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  for name in (*names, 'retries', 'env', 'dry-run'):
    result.add_argument(f'--{name}', **_options()[name])
  result.add_argument(
    'command', nargs='*', help='a phenaki command and its arguments, after --'
  )
  return result


def _options() -> dict[str, dict[str, Any]]:
  number = dict(metavar='N', type=at_least(1), default=1)
  return {
    'name': dict(required=True, type=_name, help='of the job'),
    'accelerator': dict(
      required=True, type=accelerator, metavar='TYPE', help='such as v5p-128'
    ),
    'slices': {**number, 'help': 'that the data center network connects'},
    'runtime-version': dict(
      metavar='VERSION', help="of the machines (default: the accelerator's)"
    ),
    'spot': dict(action='store_true', help='machines that may be preempted'),
    'service-account': dict(metavar='ACCOUNT', help='of the hosts or pods'),
    'action': dict(
      choices=('run', 'logs', 'delete'), default='run', help='on the job'
    ),
    'retries': {
      **number,
      **dict(type=at_least(0), default=5),
      'help': 'failures in a row, without a new checkpoint, after which to '
      'give up (default %(default)s); a preempted job is always started again',
    },
    'env': dict(
      metavar='NAME=VALUE', type=_setting, action='append', default=[],
      help='of the environment of the command; may be given several times',
    ),
    'dry-run': dict(action='store_true', help='print what would be run'),
  }  # fmt: skip


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
  """Parse the arguments; --env becomes a dict, defaults are filled in.

  The environment says that JAX finds the other processes by itself, which it
  does on TPUs and under Slurm. On TPUs it has the compiler's flags.
  """
  args = parser.parse_args()
  if getattr(args, 'action', 'run') == 'run' and not args.command:
    parser.error('give a phenaki command after --, such as -- train --config')
  if 'runtime_version' in args:
    try:
      version = args.accelerator.runtime(args.runtime_version)
    except argparse.ArgumentTypeError as error:
      parser.error(str(error))
    args.runtime_version = version
  stated = {'PHENAKI_COORDINATOR': 'auto'}
  if 'accelerator' in args:
    stated['LIBTPU_INIT_ARGS'] = args.accelerator.compiler_flags
  args.env = {**stated, **dict(args.env)}
  return args


def phenaki(args: argparse.Namespace, python: str = 'python3') -> list[str]:
  """Return the command of one process."""
  return [python, '-m', 'phenaki_jax', *args.command]


def exports(environment: Mapping[str, str]) -> str:
  """Return lines of shell that set an environment."""
  return ''.join(
    f'export {name}={shlex.quote(value)}\n'
    for name, value in environment.items()
  )


def call(
  command: Sequence[str], *, dry_run: bool, file: tuple[str, str] | None = None
) -> None:
  """Run a command, or print it.

  Args:
    command: of words; `{file}` in them is the path of the file.
    dry_run: whether it is only printed.
    file: name and text of a file that it reads.

  Raises:
    SystemExit: if it fails; it has said why.
  """
  name, text = file or ('', '')
  if dry_run:
    if file:
      print(f"cat > {name} <<'END'\n{text.rstrip()}\nEND")
    print(shlex.join(word.replace('{file}', name) for word in command))
    return
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, name or 'none')
    path.write_text(text)
    words = [word.replace('{file}', str(path)) for word in command]
    done = _run(words)
    if done.returncode:
      raise SystemExit(done.returncode)


def output(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
  """Run a command and return what it wrote and its code, also if it fails."""
  return _run(command, capture_output=True, text=True)


def _run(
  command: Sequence[str], **options: Any
) -> subprocess.CompletedProcess[Any]:
  try:
    return subprocess.run(command, **options)
  except FileNotFoundError:
    raise SystemExit(f'{command[0]} is not installed.') from None


def commit() -> str | None:
  """Return the commit of the current folder, as PHENAKI_COMMIT states it.

  `-dirty` follows it if files differ. Without git or a repository it is None.
  """
  if shutil.which('git') is None:
    return None
  head = output(['git', 'rev-parse', 'HEAD'])
  changed = output(['git', 'status', '--porcelain', '--untracked-files=no'])
  if head.returncode or changed.returncode:
    return None
  return head.stdout.strip() + '-dirty' * bool(changed.stdout.strip())


def at_least(least: int) -> Callable[[str], int]:
  """Return a parser of whole numbers."""

  def parse(text: str) -> int:
    if not text.isdecimal() or int(text) < least:
      raise argparse.ArgumentTypeError(
        f'{text!r} is not a whole number of at least {least}'
      )
    return int(text)

  return parse


def _name(text: str) -> str:
  # What names of TPUs, JobSets (with their suffixes) and Slurm jobs may be.
  if not re.fullmatch(r'[a-z]([a-z0-9-]{0,38}[a-z0-9])?', text):
    raise argparse.ArgumentTypeError(
      f'{text!r} is not a name of 1 to 40 lower-case letters, digits and '
      'hyphens that starts with a letter'
    )
  return text


def _setting(text: str) -> tuple[str, str]:
  name, equals, value = text.partition('=')
  if not equals or not re.fullmatch(r'[A-Za-z_]\w*', name):
    raise argparse.ArgumentTypeError(f'{text!r} is not NAME=VALUE')
  return name, value
