"""Build a manifest of folders and StoryWorld, and print what was kept.

An older manifest is replaced only when the new one is complete.
"""

import argparse

from phenaki_jax.cli.arguments import (
  add_filters,
  add_numbers,
  add_subset,
  add_workers,
  count,
  fields,
  seconds,
  seed,
  share,
)
from phenaki_jax.errors import UserError

EXAMPLES = """
  phenaki data build --webvid data/webvid --img2dataset data/laion \\
    --out data/manifest
  phenaki data build --storyworld 2000 --subset full --out data/world
  phenaki data build --img2dataset data/laion --language en \\
    --toxic-words words.txt --out data/laion-manifest
  phenaki data build --img2dataset data/cc3m --max-unsafe none \\
    --allow-missing pwatermark --out data/cc3m-manifest
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declare the arguments."""
  parser.add_argument(
    '--out', required=True, metavar='DIR', help='folder of the manifest'
  )
  sources = parser.add_argument_group('sources (at least one)')
  for layout in ('webvid', 'img2dataset', 'jsonl', 'stories', 'tfds'):
    sources.add_argument(
      f'--{layout}',
      action='append',
      default=[],
      metavar='DIR',
      help='a folder in this layout; may be given several times',
    )
  add_numbers(
    sources,
    ('tfds-fps', seconds, 30.0, 'frames per second of the clips of --tfds'),
    ('storyworld', count, None, 'N clips and N images of StoryWorld'),
    ('seed', seed, 0, 'of StoryWorld'),
    ('continuation-share', share, 0.5, 'clips that continue an earlier scene'),
  )
  add_subset(sources)
  sources.add_argument(
    '--tfds-split', default='train', metavar='NAME', help='of --tfds'
  )
  add_filters(parser)
  add_workers(parser)


def run(args: argparse.Namespace) -> None:
  """Build a manifest and print the report of each source."""
  from phenaki_jax.data import build, filters, isolation, word_list
  from phenaki_jax.data.sources import layouts, storyworld

  openers: list[build.OpenSource] = [
    layouts.opener(
      layout, folder, tfds_split=args.tfds_split, tfds_fps=args.tfds_fps
    )
    for layout in layouts.FOLDERS
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
    raise UserError('name at least one source, such as --webvid DIR')
  args.toxic_words = (
    word_list.read_words(args.toxic_words) if args.toxic_words else ()
  )
  scorer = None
  if args.score_unsafe:
    from phenaki_jax.perceptual.unsafe import UnsafeScorer

    scorer = UnsafeScorer()
  reports = build.build(
    openers,
    args.out,
    filters=filters.FilterConfig(**fields(args, filters.FilterConfig)),
    max_broken_share=args.max_broken,
    workers=args.workers,
    score_unsafe=scorer,
    limits=isolation.Limits(),
  )
  for report in reports:
    print('\n'.join(report.lines()))
  print(f'wrote {args.out}; the full report is {args.out}/report.json')
