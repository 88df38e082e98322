"""Write the sprite world in the WebVid, img2dataset and stories layouts.

--returns also writes stories in which a character leaves for three scenes and
comes back named by its pronoun or kind alone, for models with a history.

Characters, walking and fighting, are composed of the sheets of the Liberated
Pixel Cup, which come from github.com/makrohn/Universal-LPC-spritesheet. The
sheets are licensed under CC-BY-SA 3.0, and so is what is drawn from them. Every
record has its facts as JSON in `attributes`. Some values are in images only.
"""

import argparse

from phenaki_jax.cli.arguments import add_numbers, add_world, count

EXAMPLES = """
  git clone https://github.com/makrohn/Universal-LPC-spritesheet data/sheets
  phenaki data lpc --sheets data/sheets --out data/lpc --clips 2000 \\
    --images 2000 --stories 50
  phenaki data lpc --sheets data/sheets --out data/lpc-test --held-out
  phenaki data build --webvid data/lpc/webvid \\
    --img2dataset data/lpc/img2dataset --stories data/lpc/stories \\
    --out data/lpc-manifest
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declare the arguments."""
  parser.add_argument(
    '--sheets', required=True, metavar='DIR', help='folder of the sheets'
  )
  add_world(parser, size=128)
  add_numbers(
    parser,
    ('stories', count, 20, 'stories written'),
    ('returns', count, 0, 'stories in which a character comes back'),
  )
  parser.add_argument(
    '--held-out',
    action='store_true',
    help='write the combinations that are held out of training instead',
  )


def run(args: argparse.Namespace) -> None:
  """Write all layouts."""
  from phenaki_jax.data import worlds
  from phenaki_jax.data.report import counted

  worlds.write_lpc(
    args.out,
    sheets=args.sheets,
    num_clips=args.clips,
    num_images=args.images,
    num_stories=args.stories,
    num_returns=args.returns,
    seed=args.seed,
    size=args.size,
    held_out=args.held_out,
  )
  stories = args.stories + args.returns
  written = counted(clip=args.clips, image=args.images, story=stories)
  print(f'wrote {written} to {args.out}, with LICENSE.txt')
