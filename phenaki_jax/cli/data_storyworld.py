"""Write StoryWorld in the WebVid and img2dataset layouts."""

import argparse

from phenaki_jax.cli.arguments import (
  add_numbers,
  add_subset,
  add_world,
  positive,
)

EXAMPLES = """
  phenaki data storyworld --out data/world --clips 200 --images 200
  phenaki data build --webvid data/world/webvid \\
    --img2dataset data/world/img2dataset --out data/world-manifest
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declare the arguments."""
  add_world(parser, size=64)
  add_subset(parser)
  add_numbers(
    parser,
    ('frames', positive, 17, 'frames of a clip'),
    ('fps', positive, 8, 'frames per second'),
  )


def run(args: argparse.Namespace) -> None:
  """Write both layouts."""
  from phenaki_jax.data import worlds
  from phenaki_jax.data.report import counted

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
  written = counted(clip=args.clips, image=args.images)
  print(f'wrote {written} to {args.out}')
