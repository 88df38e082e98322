"""Train and evaluate the units of a sweep, and report on all of them.

A sweep is a Python file that yields settings (see configs/sweeps/); every unit
is checked before the first one starts. Each unit is trained and evaluated by
`phenaki train` and `phenaki evaluate` in processes of their own, once per seed.
The same command skips finished units, goes on with an interrupted one and tries
failed ones again. OUT holds report.html, report.md, units.csv and the figures,
written again after each unit. All units train on the tokens of the same
examples, which are encoded once.
"""

import argparse
import logging

from phenaki_jax.cli import arguments
from phenaki_jax.extras import check_extra

EXAMPLES = """
  phenaki ablate configs/sweeps/table2.py --out runs/table2 \\
    --set tokenizer_dir=runs/tokenizer
  phenaki ablate configs/sweeps/ratio.py:manifest=my/manifest,match=tokens \\
    --out runs/ratio --set tokenizer_dir=runs/my_tokenizer --dry-run
  phenaki ablate configs/sweeps/table2.py --out runs/table2 \\
    --set tokenizer_dir=runs/tokenizer --render
"""

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declare the arguments."""
  parser.add_argument('sweep', metavar='SWEEP[:ARG]', help='a Python sweep')
  parser.add_argument(
    '--out', required=True, metavar='DIR', help='folder of units and report'
  )
  arguments.add_set(parser)
  arguments.add_numbers(
    parser,
    ('seeds', arguments.positive, 3, 'trainings of each unit'),
    (
      'cached',
      arguments.count,
      50_000,
      'most clips, and most images, that are encoded once for all units; 0 to '
      'train on pixels',
    ),
  )
  action = parser.add_mutually_exclusive_group()
  action.add_argument(
    '--dry-run',
    action='store_true',
    help='check and list the units, and start none',
  )
  action.add_argument(
    '--render',
    action='store_true',
    help='check the units, and print the commands of those that are left: the '
    'shared tokens first, then one --unit each',
  )
  action.add_argument(
    '--unit',
    metavar='NAME',
    help='train and evaluate this unit alone, in a job of one process',
  )
  action.add_argument(
    '--report',
    action='store_true',
    help='write the report of what is finished, and start nothing',
  )


def run(args: argparse.Namespace) -> int:
  """Run, list, render or report a sweep."""
  from phenaki_jax.runs import ablate
  from phenaki_jax.runs.ablate_check import check_sweep, count_devices
  from phenaki_jax.runs.ablate_report import listing, write_report
  from phenaki_jax.runs.ablate_shared import Shared
  from phenaki_jax.runs.ablate_sweep import load_sweep

  sweep = load_sweep(args.sweep, seeds=args.seeds, overrides=args.set)
  if not (args.unit or args.dry_run or args.render):
    check_extra('the report', 'matplotlib', extra='eval')
  if not args.report:
    chosen = sweep.only(args.unit) if args.unit else sweep
    check_sweep(chosen, num_devices=count_devices())
    Shared.of(chosen.units, cached=args.cached).check(args.out)
  if args.dry_run:
    print(listing(sweep, args.out))
    return 0
  if args.render:
    caches, lines = ablate.render(sweep, args.out, cached=args.cached)
    print(*caches, *lines, sep='\n')
    return 0
  if args.unit:
    return ablate.run_unit(sweep, args.unit, args.out, cached=args.cached)
  code = 0
  if not args.report:
    code = ablate.run_sweep(sweep, args.out, cached=args.cached)
  paths = write_report(sweep, args.out)
  print(*paths, sep='\n')
  return code
