"""Check a manifest and read the data that it names again.

Exit code 1 means that some of it has changed since the manifest was built.
"""

import argparse

from phenaki_jax.cli import arguments
from phenaki_jax.errors import UserError

EXAMPLES = """
  phenaki data check data/manifest
  phenaki data check data/manifest --moved-to /mnt/disk/data
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declare the arguments."""
  parser.add_argument('folder', metavar='DIR', help='folder of the manifest')
  parser.add_argument(
    '--moved-to',
    metavar='DIR',
    help='make the manifest refer to data that were moved to DIR, then check',
  )
  arguments.add_numbers(
    parser, ('show', arguments.count, 20, 'changed records listed')
  )
  arguments.add_workers(parser)


def run(args: argparse.Namespace) -> int:
  """Check a manifest; return 1 if its data has changed."""
  from phenaki_jax.data import check, manifest, move
  from phenaki_jax.data.report import counted

  content = manifest.Manifest(args.folder)
  if args.moved_to is not None:
    for old, new in move.repoint(content, args.moved_to).items():
      print(f'{old} is now {new} in the manifest')
    content = manifest.Manifest(args.folder)
  if not len(content):
    raise UserError(
      f'{args.folder} is a manifest without records; build it again from '
      'sources that have some'
    )
  for report in content.reports():
    print('\n'.join(report.lines()))
  problems, reasons = 0, set()
  for problem in check.find_problems(content, workers=args.workers):
    problems += 1
    reasons.add(problem.reason)
    if problems <= args.show:
      print(f'{problem.key}: {problem.reason} {problem.detail}'.rstrip())
  if problems > args.show:
    print(f'and {problems - args.show:,} more; --show {problems} lists all')
  if 'missing_file' in reasons:
    print('if the data were moved, --moved-to DIR updates the manifest')
  print(
    f'{counted(record=len(content))} read again, {counted(problem=problems)}'
  )
  return 1 if problems else 0
