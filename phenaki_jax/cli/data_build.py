"""Build a manifest of folders and StoryWorld, and print what was kept.

An older manifest is replaced only when the new one is complete.
"""

import argparse

from phenaki_jax.cli.arguments import (
  add_numbers,
  add_subset,
  add_workers,
  count,
  fields,
  limit,
  score,
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
    type=language,
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
    help='compute the punsafe scores that are missing (phenaki-jax[eval])',
  )
  add_workers(parser)


def language(text: str) -> str | None:
  """Parse the code of a language, or 'none'."""
  return None if text.lower() == 'none' else text


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
