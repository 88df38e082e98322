"""The command line: one parser, one table of commands.

Each command is a module of this package with a docstring, `EXAMPLES`,
`add_arguments(parser)` and `run(args) -> int | None`. A module is imported only
when its command is named, and imports heavy packages inside `run`, so that help
is fast.
"""

import argparse
import importlib
import logging
import os
import sys
import types
from collections.abc import Mapping, Sequence

import phenaki_jax
from phenaki_jax.cli import arguments, exits

COMMANDS: Mapping[str, str] = types.MappingProxyType(
  {
    'data': 'build, check and inspect data; write StoryWorld to disk',
    'plan': 'count what a run needs: parameters, arithmetic, memory, days',
    'compile': 'compile a run for a pod of TPUs, without a TPU',
    'doctor': 'check this machine, and say what is missing',
    'encode': 'encode training examples once, for faster training',
    'train': 'train a tokenizer, a generator, a diffusion model or a reader',
    'adapt': 'teach a generator a new word from images, or customise a model',
    'story': 'generate a story video with one prompt per scene',
    'edit': 'animate, continue, interpolate, fill, extend, vary, enlarge clips',
    'origin': 'say how a film was made: metadata, credentials, mark',
    'evaluate': 'measure how well a model knows the world of its data',
    'bench': 'make the stories of StoryBench in its format',
    'ablate': 'train and compare models of different settings or data ratios',
    'reader': 'measure how well a reader reads the sprite world',
    'goodput': 'tell on what the time of a run was spent, over all its starts',
    'export': 'export a model: a bundle, StableHLO programs or a SavedModel',
    'serve': 'serve stories over HTTP, with a page in the browser',
  }
)
"""The name of each command, which is also its module, and its summary."""

_EPILOG = """\
See phenaki COMMAND --help for the arguments and examples of a command.
Set PHENAKI_TRACEBACK=1 to see the stack trace of an error.
"""


def main(argv: Sequence[str] | None = None) -> int:
  """Run one command and return its exit code (see `exits.run`).

  Args:
    argv: the arguments after the program's name; None for `sys.argv[1:]`.
  """
  argv = sys.argv[1:] if argv is None else list(argv)
  parser = make_parser(argv)
  args = parser.parse_args(argv)
  for name, value in vars(args).items():
    # The shell expands `--out ~/x`, but not `--out=~/x`.
    if isinstance(value, str) and value.startswith('~'):
      setattr(args, name, os.path.expanduser(value))
  if args.command is None:
    parser.print_help()
    return 0
  # Show the messages of this package, and only warnings of the others.
  logging.basicConfig(format='%(message)s', level=logging.WARNING)
  logging.getLogger('phenaki_jax').setLevel(logging.INFO)
  return exits.run(args)


def make_parser(argv: Sequence[str]) -> argparse.ArgumentParser:
  """Make the parser; only the command named in `argv` is imported."""
  parser = argparse.ArgumentParser(
    prog='phenaki',
    description='Train Phenaki on captioned clips and images, and generate '
    'story videos with it.',
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
    if name in argv:
      module = importlib.import_module(f'phenaki_jax.cli.{name}')
      arguments.add_command(commands, name, summary, module)
    else:
      commands.add_parser(name, help=summary)
  return parser
