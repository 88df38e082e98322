"""Write StoryWorld in the WebVid and img2dataset layouts."""

import argparse

from phenaki_jax.cli.arguments import add_numbers, count, positive, seed

EXAMPLES = """
  phenaki data storyworld --out data/world --clips 200 --images 200
  phenaki data build --webvid data/world/webvid \\
    --img2dataset data/world/img2dataset --out data/world-manifest
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declare the arguments."""
  parser.add_argument(
    '--out', required=True, metavar='DIR', help='new folder for both layouts'
  )
  parser.add_argument('--subset', default='easy', help='of StoryWorld')
  add_numbers(
    parser,
    ('clips', count, 200, 'clips written'),
    ('images', count, 200, 'images written'),
    ('seed', seed, 0, 'of StoryWorld'),
    ('size', positive, 64, 'side in pixels'),
    ('frames', positive, 17, 'frames of a clip'),
    ('fps', positive, 8, 'frames per second'),
  )


def run(args: argparse.Namespace) -> None:
  """Write both layouts."""
  from phenaki_jax.data import worlds

  worlds.write_storyworld(
    args.out,
    num_clips=args.clips,
    num_images=args.images,
    subset=args.subset,
    seed=args.seed,
    size=args.size,
    frames=args.frames,
    fps=args.fps,
  )
  print(f'wrote {args.clips:,} clips and {args.images:,} images to {args.out}')
