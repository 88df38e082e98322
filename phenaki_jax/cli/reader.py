"""Measure how well a reader reads the sprite world, or finds characters.

It reads held-out clips and images, as rendered, blurred, and after H.264. The
tables have the accuracy of each fact, and the share of readings that are sure;
the text below them explains both. With --out, the weights are written as one
safetensors file, which `phenaki evaluate --reader` reads.

With --stories, the reader is one of characters: the table has the F1 and the
accuracy of frames that papers on stories report.
"""

import argparse

from phenaki_jax.cli.arguments import add_numbers, count, fields, positive
from phenaki_jax.errors import UserError

EXAMPLES = """
  phenaki train --config configs/reader/lpc.py:sheets=data/sheets \\
    --workdir runs/reader
  phenaki reader --reader runs/reader --out runs/reader.safetensors
  phenaki reader --reader runs/reader.safetensors --sheets data/sheets \\
    --size 48
  phenaki train --config configs/reader/characters.py:stories=pororo.h5 \\
    --workdir runs/characters
  phenaki reader --reader runs/characters --stories pororo.h5
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declare the arguments."""
  parser.add_argument(
    '--reader',
    required=True,
    metavar='PATH',
    help='the --workdir of a trained reader, or a file that --out wrote',
  )
  parser.add_argument(
    '--sheets',
    default='',
    metavar='DIR',
    help='folder of the sheets (default: those of the run; a file has none)',
  )
  parser.add_argument(
    '--stories',
    default='',
    metavar='FILE',
    help='HDF5 file of labelled stories, whose test split is read',
  )
  parser.add_argument(
    '--out', default='', metavar='FILE', help='file of weights to write'
  )
  add_numbers(
    parser,
    ('examples', positive, 200, 'clips, and images, to read'),
    ('size', positive, 64, 'side of the frames in pixels'),
    ('seed', count, 1, 'of the examples'),
  )


def run(args: argparse.Namespace) -> None:
  """Measure one reader."""
  if args.stories:
    for option in ('out', 'sheets'):
      if getattr(args, option):
        raise UserError(
          f'--{option} is of readers of the sprite world; leave it out with '
          '--stories'
        )
    from phenaki_jax.evaluation import characters as scores
    from phenaki_jax.runs import characters

    found = characters.open_reader(args.reader)
    measured = characters.measure(found, args.stories)
    print(scores.to_markdown(measured, found.names))
    return
  from phenaki_jax.evaluation.reader_accuracy import to_markdown
  from phenaki_jax.runs import reader

  request = reader.Request(**fields(args, reader.Request))
  print(to_markdown(reader.measure(request)))
  if args.out:
    print(args.out)
