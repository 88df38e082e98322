"""Plan a run: parameters, arithmetic, memory, days and the data it needs.

Everything is counted by formula; nothing is allocated. The durations assume
that the steps reach --mfu of the peak arithmetic of the chips. Activations are
estimated; `phenaki compile` has the compiler's number.
"""

import argparse

from phenaki_jax.cli import arguments

EXAMPLES = """
  phenaki plan --config configs/generator/paper_1p8b.py --chip v5p --chips 64
  phenaki plan --config configs/neighbours/gen1.py --chip v5p --chips 32
  phenaki plan --config configs/tokenizer/paper.py --chip h100 --chips 32 \\
    --mfu 0.3 --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declare the arguments."""
  arguments.add_config(parser)
  parser.add_argument(
    '--chip',
    default='v5p',
    help='v4, v5e, v5p, v6e, h100 or h200 (%(default)s)',
  )
  arguments.add_numbers(
    parser,
    ('chips', arguments.positive, 1, 'chips of the run'),
    ('mfu', arguments.share, 0.4, 'share of the peak arithmetic that is used'),
  )
  parser.add_argument('--json', action='store_true', help='print JSON')


def run(args: argparse.Namespace) -> None:
  """Plan one run."""
  import dataclasses
  import json

  from phenaki_jax.errors import UserError
  from phenaki_jax.runs import experiment, plan

  if not args.mfu:
    raise UserError('--mfu is 0; give a share above 0, such as 0.4')
  found = plan.plan(
    experiment.resolve(args.config, args.set),
    chip=args.chip,
    num_chips=args.chips,
    mfu=args.mfu,
  )
  if args.json:
    print(json.dumps(dataclasses.asdict(found), indent=2))
  else:
    print(plan.to_text(found))
