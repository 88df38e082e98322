"""Pieces of argument parsers that several commands share."""

import argparse
import dataclasses
import inspect
import math
import pathlib
import types
from typing import Any


def add_command(
  commands: Any, name: str, summary: str, module: types.ModuleType
) -> None:
  """Add a command; a module without `run` has actions, which have it."""
  parser = commands.add_parser(
    name,
    help=summary,
    description=inspect.getdoc(module),
    epilog='examples:\n' + inspect.cleandoc(module.EXAMPLES),
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  module.add_arguments(parser)
  if hasattr(module, 'run'):
    parser.set_defaults(run=module.run)


def add_numbers(parser: Any, *arguments: tuple[str, Any, Any, str]) -> None:
  """Add options given as (name, type, default, help)."""
  for name, kind, default, words in arguments:
    shown = ' (default %(default)s)' if isinstance(default, int | float) else ''
    parser.add_argument(
      f'--{name}', type=kind, default=default, metavar='N', help=words + shown
    )


def add_config(parser: argparse.ArgumentParser) -> None:
  """Add --config and --set, which describe an experiment."""
  parser.add_argument(
    '--config', required=True, metavar='FILE[:ARG]', help='a Python config'
  )
  add_set(parser)


def add_set(parser: argparse.ArgumentParser) -> None:
  """Add --set, which overrides fields of a config."""
  parser.add_argument(
    '--set',
    action='append',
    default=[],
    metavar='A.B=VALUE',
    help='override a field of the config; may be given several times',
  )


def add_model(
  parser: argparse.ArgumentParser, *, default: str | None = None
) -> None:
  """Add --model, which names a trained story model, and its parts.

  Without a default, None stands for 'storyworld'.
  """
  parser.add_argument(
    '--model',
    metavar='DIR',
    default=default,
    help='a bundle, or the --workdir of a trained generator; or storyworld or '
    f'lpc, which ship with the package (default {default or "storyworld"})',
  )
  add_parts(parser)


def add_parts(parser: argparse.ArgumentParser) -> None:
  """Add --tokenizer and --encoder, for models whose parts were moved."""
  parser.add_argument(
    '--tokenizer',
    metavar='DIR',
    help="the --workdir of the generator's tokenizer, if it was moved",
  )
  parser.add_argument(
    '--encoder',
    metavar='PATH',
    help='checkpoint of a frozen text encoder, if it was moved',
  )


def add_origin(parser: argparse.ArgumentParser) -> None:
  """Add --mark and --certificate, by which films tell where they are from."""
  parser.add_argument(
    '--mark',
    action='store_true',
    help='add an invisible mark to films; see docs/serving.md',
  )
  parser.add_argument(
    '--certificate',
    metavar='PEM',
    help='sign the files as C2PA content credentials; a file with the '
    'certificate, its chain and its private key',
  )


def origin(args: argparse.Namespace) -> dict[str, Any]:
  """Return `marked` and `certificate`, arguments of all that write films."""
  certificate = None
  if args.certificate:
    from phenaki_jax.media.credentials import read_certificate

    certificate = read_certificate(args.certificate)
  return {'marked': args.mark, 'certificate': certificate}


def add_images(parser: argparse.ArgumentParser) -> None:
  """Add --source and --character, images that all clips of a story see."""
  parser.add_argument('--source', metavar='FRAME', help='image for all scenes')
  parser.add_argument(
    '--character',
    action='append',
    default=[],
    metavar='FRAME',
    help='picture of a character for all scenes; may be given several times',
  )


def images(args: argparse.Namespace, story: Any) -> list[pathlib.Path]:
  """Return the paths of these images, and of what scenes start from.

  Raises:
    NotFoundError, UserError: see `footage.find`.
  """
  from phenaki_jax.runs.footage import find

  starts = (scene.start for scene in story.scenes)
  return [find(one) for one in (args.source, *args.character, *starts) if one]


def with_images(model: Any, args: argparse.Namespace, story: Any) -> Any:
  """Return a model whose clips see the images that were given, if any."""
  model = model.with_source(args.source, story) if args.source else model
  if args.character:
    model = model.with_character(args.character, story)
  return model


def add_world(parser: argparse.ArgumentParser, *, size: int) -> None:
  """Add the arguments of the commands that write a drawn world to disk."""
  parser.add_argument(
    '--out', required=True, metavar='DIR', help='new folder for all layouts'
  )
  add_numbers(
    parser,
    ('clips', count, 200, 'clips written'),
    ('images', count, 200, 'images written'),
    ('seed', seed, 0, 'of the data'),
    ('size', positive, size, 'side in pixels'),
  )


def add_filters(parser: argparse.ArgumentParser) -> None:
  """Add the limits that a record must meet; see `filters.FilterConfig`."""
  filters = parser.add_argument_group('filters')
  add_numbers(
    filters,
    ('max-unsafe', limit, 0.5, 'highest punsafe score, 0..1, or none'),
    ('max-watermark', limit, 0.5, 'highest pwatermark score, 0..1, or none'),
    ('min-aesthetic', score, None, 'lowest aesthetic score, 0..10, or none'),
    ('min-side', count, 32, 'in pixels'),
    ('max-caption', count, 1000, 'in characters'),
    ('min-duration', seconds, 0.3, 'of clips, in seconds'),
    ('max-duration', seconds, 300.0, 'of clips, in seconds'),
    ('max-broken', share, 0.2, 'share of broken records allowed in a source'),
  )
  filters.add_argument(
    '--language',
    metavar='CODE',
    help="keep rows of this language, such as en, by the table's column",
  )
  filters.add_argument(
    '--toxic-words',
    metavar='FILE',
    help='leave out captions with a word or phrase of this list, one in a line',
  )
  filters.add_argument(
    '--allow-missing',
    action='append',
    default=[],
    metavar='COLUMN',
    help='a score (punsafe, pwatermark) that a source or row may lack',
  )
  filters.add_argument(
    '--score-unsafe',
    action='store_true',
    help='compute the punsafe scores that are missing (phenaki-jax[safety])',
  )


def add_subset(parser: Any) -> None:
  """Add --subset."""
  parser.add_argument(
    '--subset',
    default='easy',
    help='of StoryWorld: easy, medium or full (default %(default)s)',
  )


def add_workers(parser: argparse.ArgumentParser) -> None:
  """Add --workers."""
  add_numbers(parser, ('workers', positive, 2, 'threads that read the data'))


def fields(args: argparse.Namespace, dataclass: type) -> dict[str, Any]:
  """Return the arguments that are named like fields of a dataclass.

  Lists become tuples, as in frozen dataclasses.
  """
  names = [field.name for field in dataclasses.fields(dataclass)]
  found = {name: getattr(args, name) for name in names if name in args}
  return {
    name: tuple(value) if isinstance(value, list) else value
    for name, value in found.items()
  }


class InPlaceOf(argparse.Action):
  """Stores an option in whose presence some positional arguments may lack."""

  def __init__(self, *args: Any, positionals: tuple[str, ...], **kwargs: Any):
    """Remember the names of the positional arguments."""
    super().__init__(*args, **kwargs)
    self.positionals = positionals

  def __call__(
    self, parser: Any, namespace: Any, values: Any, option_string: Any = None
  ) -> None:
    """Store the value."""
    setattr(namespace, self.dest, values)
    for action in parser._actions:
      if action.dest in self.positionals:
        action.required = False


def _number(
  kind: type, words: str, low: int | float, high: int | float = math.inf
) -> Any:
  """Return a parser of numbers from `low` to `high`."""

  def parse(text: str) -> Any:
    try:
      value = kind(text)
    except ValueError:
      value = math.nan
    if not (low <= value <= high and math.isfinite(value)):
      raise argparse.ArgumentTypeError(f'{text!r} is not {words}')
    return value

  return parse


count = _number(int, 'a whole number of at least 0', 0)
seed = _number(int, 'a seed from 0 to 4294967295', 0, 2**32 - 1)
positive = _number(int, 'a whole number of at least 1', 1)
seconds = _number(float, 'a positive number', 1e-6)
share = _number(float, 'a number in 0..1', 0, 1)
level = _number(int, 'a level from 0 to 7', 0, 7)
_score = _number(float, 'a number in 0..10', 0, 10)


def limit(text: str) -> float | None:
  """Parse a number in 0..1, or 'none'."""
  return None if text.lower() == 'none' else share(text)


def score(text: str) -> float | None:
  """Parse a number in 0..10, or 'none'."""
  return None if text.lower() == 'none' else _score(text)
