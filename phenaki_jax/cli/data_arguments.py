"""The arguments of `phenaki data`, action by action, with examples."""

import argparse
import math

_BUILD = """examples:
  phenaki data build --webvid data/webvid --img2dataset data/laion \\
    --out data/manifest
  phenaki data build --storyworld 2000 --subset full --out data/world
  phenaki data build --img2dataset data/cc3m --max-unsafe none \\
    --allow-missing pwatermark --out data/cc3m-manifest
"""

_CHECK = """examples:
  phenaki data check data/manifest
"""

_INSPECT = """examples:
  phenaki data inspect data/manifest --out sheet.png
  phenaki data inspect data/manifest --out sheet.png --clips 4 --size 128
"""

_STORYWORLD = """examples:
  phenaki data storyworld --out data/world --clips 200 --images 200
  phenaki data build --webvid data/world/webvid \\
    --img2dataset data/world/img2dataset --out data/world-manifest
"""


def _add_action(
  actions: argparse._SubParsersAction, name: str, summary: str, examples: str
) -> argparse.ArgumentParser:
  return actions.add_parser(
    name,
    help=summary,
    description=summary[0].upper() + summary[1:] + '.',
    epilog=examples,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )


def add_build(
  actions: argparse._SubParsersAction,
) -> argparse.ArgumentParser:
  """Declare `phenaki data build`."""
  parser = _add_action(
    actions, 'build', 'make a manifest of folders and StoryWorld', _BUILD
  )
  sources = parser.add_argument_group('sources (repeatable, at least one)')
  for layout in ('webvid', 'img2dataset'):
    sources.add_argument(
      f'--{layout}',
      action='append',
      default=[],
      metavar='DIR',
      help='a folder in this layout',
    )
  sources.add_argument(
    '--storyworld',
    type=_count,
    metavar='N',
    help='N clips and N images of the built-in world',
  )
  sources.add_argument('--subset', default='easy', help='of StoryWorld')
  sources.add_argument(
    '--seed', type=_count, default=0, metavar='N', help='of StoryWorld'
  )
  sources.add_argument(
    '--continuation-share',
    type=_share,
    default=0.5,
    metavar='X',
    help='share of StoryWorld clips that go on from an earlier scene',
  )
  parser.add_argument(
    '--out', required=True, metavar='DIR', help='folder of the manifest'
  )
  kept = parser.add_argument_group('what is kept')
  for name, word in (('unsafe', 'punsafe'), ('watermark', 'pwatermark')):
    kept.add_argument(
      f'--max-{name}',
      type=_limit,
      default=0.5,
      metavar='X',
      help=f'highest {word} score, 0..1, or none (default 0.5)',
    )
  kept.add_argument(
    '--allow-missing',
    action='append',
    default=[],
    metavar='COLUMN',
    help='a score (punsafe, pwatermark) that a source or row may lack',
  )
  kept.add_argument(
    '--min-side', type=_count, default=32, metavar='N', help='in pixels'
  )
  kept.add_argument(
    '--max-caption', type=_count, default=1000, metavar='N', help='in letters'
  )
  kept.add_argument(
    '--min-duration', type=_seconds, default=0.3, metavar='S', help='of clips'
  )
  kept.add_argument(
    '--max-duration', type=_seconds, default=300.0, metavar='S', help='of clips'
  )
  kept.add_argument(
    '--max-broken',
    type=_share,
    default=0.2,
    metavar='X',
    help='refuse a source with a larger share of broken records (default 0.2)',
  )
  _add_workers(parser)
  return parser


def add_check(
  actions: argparse._SubParsersAction,
) -> argparse.ArgumentParser:
  """Declare `phenaki data check`."""
  parser = _add_action(
    actions, 'check', 'check a manifest and the data that it names', _CHECK
  )
  parser.add_argument('folder', metavar='DIR', help='folder of the manifest')
  _add_workers(parser)
  return parser


def add_inspect(
  actions: argparse._SubParsersAction,
) -> argparse.ArgumentParser:
  """Declare `phenaki data inspect`."""
  parser = _add_action(
    actions, 'inspect', 'draw a contact sheet with captions', _INSPECT
  )
  parser.add_argument('folder', metavar='DIR', help='folder of the manifest')
  parser.add_argument(
    '--out', required=True, metavar='FILE', help='picture to write (.png)'
  )
  parser.add_argument(
    '--clips', type=_count, default=6, metavar='N', help='clips shown'
  )
  parser.add_argument(
    '--images', type=_count, default=18, metavar='N', help='images shown'
  )
  parser.add_argument(
    '--seed', type=_count, default=0, metavar='N', help='of the choice'
  )
  _add_shape(parser, size=96, frames=9)
  return parser


def add_storyworld(
  actions: argparse._SubParsersAction,
) -> argparse.ArgumentParser:
  """Declare `phenaki data storyworld`."""
  parser = _add_action(
    actions,
    'storyworld',
    'write StoryWorld in the WebVid and img2dataset layouts',
    _STORYWORLD,
  )
  parser.add_argument(
    '--out', required=True, metavar='DIR', help='new folder for both layouts'
  )
  parser.add_argument(
    '--clips', type=_count, default=200, metavar='N', help='clips written'
  )
  parser.add_argument(
    '--images', type=_count, default=200, metavar='N', help='images written'
  )
  parser.add_argument('--subset', default='easy', help='of the world')
  parser.add_argument(
    '--seed', type=_count, default=0, metavar='N', help='of the world'
  )
  _add_shape(parser, size=64, frames=17)
  return parser


def _add_shape(
  parser: argparse.ArgumentParser, *, size: int, frames: int
) -> None:
  parser.add_argument(
    '--size',
    type=_positive,
    default=size,
    metavar='N',
    help=f'side in pixels (default {size})',
  )
  parser.add_argument(
    '--frames',
    type=_positive,
    default=frames,
    metavar='N',
    help=f'frames of a clip (default {frames})',
  )
  parser.add_argument(
    '--fps',
    type=_positive,
    default=8,
    metavar='N',
    help='frames per second (default 8)',
  )


def _add_workers(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    '--workers', type=_positive, default=2, metavar='N', help='threads'
  )


def _count(text: str) -> int:
  return int(_bounded(int, text, 'a whole number from 0 on'))


def _positive(text: str) -> int:
  return int(_bounded(int, text, 'a whole number from 1 on', low=1.0))


def _seconds(text: str) -> float:
  return _bounded(float, text, 'a number above 0', low=1e-6)


def _share(text: str) -> float:
  return _bounded(float, text, 'a number in 0..1', high=1.0)


def _limit(text: str) -> float | None:
  return None if text.lower() == 'none' else _share(text)


def _bounded(
  kind: type,
  text: str,
  words: str,
  *,
  low: float = 0.0,
  high: float = math.inf,
) -> float:
  try:
    value = float(kind(text))
  except ValueError:
    value = math.nan
  if not (math.isfinite(value) and low <= value <= high):
    raise argparse.ArgumentTypeError(f'{text!r} is not {words}')
  return value
