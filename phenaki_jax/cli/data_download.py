"""Download the files that a table of the web names, into tar shards.

The table is parquet with URL and TEXT (LAION), or CSV with contentUrl and name
(WebVid). Only public http and https addresses are read. An interrupted download
goes on with the same command; every row is counted in report.json. Make sure
that you may use what you download.
"""

import argparse

from phenaki_jax.cli.arguments import add_numbers, positive, seconds

EXAMPLES = """
  phenaki data download laion/part-00000.parquet --out data/laion
  phenaki data download results_10M_train.csv --out data/webvid --rate 5 \\
    --max-bytes 200000000 --workers 2
  phenaki data build --img2dataset data/laion --out data/manifest
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declare the arguments."""
  parser.add_argument('table', metavar='FILE', help='.parquet or .csv')
  parser.add_argument(
    '--out', required=True, metavar='DIR', help='folder of the shards'
  )
  add_numbers(
    parser,
    ('rate', seconds, 10.0, 'files per second'),
    ('workers', positive, 8, 'files that are downloaded at a time'),
    ('timeout', seconds, 60.0, 'seconds for a file'),
    ('max-bytes', positive, 2**26, 'of a file; 4 x workers wait in memory'),
    ('rows-per-shard', positive, 1000, 'rows of the table in a shard'),
  )


def run(args: argparse.Namespace) -> None:
  """Download, and print the account."""
  from phenaki_jax.cli.arguments import fields
  from phenaki_jax.data import download

  config = download.DownloadConfig(**fields(args, download.DownloadConfig))
  account = download.download(args.table, args.out, config)
  for reason, count in account.items():
    print(f'{count:>10,} {reason}')
  print(f'wrote {args.out}, a folder for phenaki data build --img2dataset')
