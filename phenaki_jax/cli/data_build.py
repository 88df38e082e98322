"""Build a manifest of folders and StoryWorld, and print what was kept.

An older manifest is replaced only when the new one is complete.
"""

import argparse
import functools
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from phenaki_jax.cli.arguments import (
  add_numbers,
  add_subset,
  add_workers,
  count,
  fields,
  limit,
  seconds,
  seed,
  share,
)
from phenaki_jax.errors import UserError

if TYPE_CHECKING:
  from phenaki_jax.data.sources import base

EXAMPLES = """
  phenaki data build --webvid data/webvid --img2dataset data/laion \\
    --out data/manifest
  phenaki data build --storyworld 2000 --subset full --out data/world
  phenaki data build --img2dataset data/cc3m --max-unsafe none \\
    --allow-missing pwatermark --out data/cc3m-manifest
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declare the arguments."""
  parser.add_argument(
    '--out', required=True, metavar='DIR', help='folder of the manifest'
  )
  sources = parser.add_argument_group('sources (at least one)')
  for layout in ('webvid', 'img2dataset', 'stories'):
    sources.add_argument(
      f'--{layout}',
      action='append',
      default=[],
      metavar='DIR',
      help='a folder in this layout; may be given several times',
    )
  add_numbers(
    sources,
    ('storyworld', count, None, 'N clips and N images of StoryWorld'),
    ('seed', seed, 0, 'of StoryWorld'),
    ('continuation-share', share, 0.5, 'clips that continue an earlier scene'),
  )
  add_subset(sources)
  filters = parser.add_argument_group('filters')
  add_numbers(
    filters,
    ('max-unsafe', limit, 0.5, 'highest punsafe score, 0..1, or none'),
    ('max-watermark', limit, 0.5, 'highest pwatermark score, 0..1, or none'),
    ('min-side', count, 32, 'in pixels'),
    ('max-caption', count, 1000, 'in characters'),
    ('min-duration', seconds, 0.3, 'of clips, in seconds'),
    ('max-duration', seconds, 300.0, 'of clips, in seconds'),
    ('max-broken', share, 0.2, 'share of broken records allowed in a source'),
  )
  filters.add_argument(
    '--allow-missing',
    action='append',
    default=[],
    metavar='COLUMN',
    help='a score (punsafe, pwatermark) that a source or row may lack',
  )
  add_workers(parser)


def run(args: argparse.Namespace) -> None:
  """Build a manifest and print the report of each source."""
  from phenaki_jax.data import build, filters
  from phenaki_jax.data.sources import img2dataset, stories, storyworld, webvid

  folders: dict[str, 'Callable[[str, pathlib.Path], base.Source]'] = {
    'webvid': lambda folder, _: webvid.WebVid(folder),
    'img2dataset': lambda folder, indices: img2dataset.Img2Dataset(
      folder, index_folder=indices
    ),
    'stories': lambda folder, _: stories.Stories(folder),
  }
  openers: list[build.OpenSource] = [
    functools.partial(open_folder, folder)
    for layout, open_folder in folders.items()
    for folder in getattr(args, layout)
  ]
  if args.storyworld is not None:
    number, kind = args.storyworld, storyworld.StoryWorldReader
    openers.append(
      lambda _: storyworld.StoryWorld(
        kind(**fields(args, kind)), num_clips=number, num_images=number
      )
    )
  if not openers:
    raise UserError(
      'name at least one source: --webvid DIR, --img2dataset DIR, '
      '--stories DIR or --storyworld N'
    )
  args.allow_missing = tuple(args.allow_missing)
  reports = build.build(
    openers,
    args.out,
    filters=filters.FilterConfig(**fields(args, filters.FilterConfig)),
    max_broken_share=args.max_broken,
    workers=args.workers,
  )
  for report in reports:
    print('\n'.join(report.lines()))
  print(f'wrote {args.out}; the full report is {args.out}/report.json')
