"""Write a set of its own from a manifest: small frames in ArrayRecord files.

Frames are re-encoded at training size and rate, so that training decodes much
less. The folder holds all that training needs and is a manifest itself. An
interrupted run goes on where it was; every record is kept, or left out for a
reason that is counted in report.json.
"""

import argparse
import shlex

from phenaki_jax.cli.arguments import add_numbers, positive, seconds
from phenaki_jax.errors import UserError

EXAMPLES = """
  phenaki data ingest data/manifest --out data/packed --size 64 --fps 8 \\
    --workers 8
  phenaki data ingest data/manifest --out data/packed --near-duplicates 8
  phenaki data ingest gs://b/manifest --out gs://b/packed --runner \
    DataflowRunner --runner-flags='--project=p --region=r'
  phenaki train --config configs/tokenizer/lpc.py:manifest=data/packed \\
    --workdir runs/tokenizer
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declare the arguments."""
  parser.add_argument('folder', metavar='DIR', help='folder of the manifest')
  parser.add_argument(
    '--out', required=True, metavar='DIR', help='folder of the set'
  )
  add_numbers(
    parser,
    ('size', positive, 64, 'side of the frames, in pixels'),
    ('fps', seconds, 8.0, 'frames per second of the clips'),
    ('quality', positive, 95, 'of JPEG, 1..100'),
    ('rows-per-file', positive, 512, 'records of the manifest per file'),
    ('workers', positive, 2, 'processes'),
  )
  parser.add_argument(
    '--encoding',
    choices=('jpeg', 'png'),
    default='jpeg',
    help='png loses nothing, and takes more space (default %(default)s)',
  )
  parser.add_argument(
    '--near-duplicates',
    type=int,
    metavar='BITS',
    help='leave out records whose picture hashes differ from an earlier one in '
    'at most this many of 768 bits, 0..47',
  )
  parser.add_argument(
    '--runner',
    metavar='NAME',
    help='a runner of Apache Beam, such as DirectRunner or DataflowRunner, '
    'which takes the place of --workers',
  )
  parser.add_argument(
    '--runner-flags',
    default='',
    metavar='FLAGS',
    help="of --runner, as one text: --runner-flags='--project=p --region=r'",
  )


def run(args: argparse.Namespace) -> None:
  """Write a set and print its account."""
  from phenaki_jax.cli.arguments import fields
  from phenaki_jax.data import beam, ingest

  flags = shlex.split(args.runner_flags)
  if flags and not args.runner:
    raise UserError(f'{flags[0]} is a flag of a runner; name the --runner')
  args.size = (args.size, args.size)
  config = ingest.IngestConfig(**fields(args, ingest.IngestConfig))
  account = ingest.ingest(
    args.folder,
    args.out,
    config,
    workers=args.workers,
    run=beam.runner(args.runner, flags) if args.runner else None,
  )
  print('\n'.join(account.lines()))
  print(f'wrote {args.out}, a manifest for data.sources')
