"""Draw a contact sheet of clips and images of a manifest, with captions."""

import argparse
import functools
import pathlib

from phenaki_jax.cli.arguments import add_numbers, count, positive

EXAMPLES = """
  phenaki data inspect data/manifest --out sheet.png
  phenaki data inspect data/manifest --out sheet.png --clips 4 --size 128
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declare the arguments."""
  parser.add_argument('folder', metavar='DIR', help='folder of the manifest')
  parser.add_argument(
    '--out', required=True, metavar='FILE', help='picture to write (.png)'
  )
  add_numbers(
    parser,
    ('clips', count, 6, 'clips shown'),
    ('images', count, 18, 'images shown'),
    ('seed', count, 0, 'of the choice'),
    ('size', positive, 96, 'side in pixels'),
    ('frames', positive, 9, 'frames of a clip'),
    ('fps', positive, 8, 'frames per second'),
  )


def run(args: argparse.Namespace) -> None:
  """Draw a contact sheet."""
  from phenaki_jax.data import contact_sheet, manifest, schema

  content = manifest.Manifest(args.folder)
  request = schema.ExampleRequest(
    size=(args.size, args.size), frames=args.frames, fps=float(args.fps)
  )
  pick = functools.partial(
    contact_sheet.pick, content, request=request, seed=args.seed
  )
  sheet = contact_sheet.draw(
    clips=pick(schema.CLIP, count=args.clips),
    images=pick(schema.IMAGE, count=args.images),
    title=(
      f'{content.header["clips"]:,} clips and {content.header["images"]:,} '
      f'images, manifest {content.hash[:12]}'
    ),
  )
  pathlib.Path(args.out).parent.mkdir(parents=True, exist_ok=True)
  sheet.save(args.out)
  print(f'wrote {args.out}')
