"""Compile a run for a pod of TPUs, without a TPU, and report what it needs.

The compiler is libtpu of the extra 'tpu' (Linux, x86-64). The report has the
memory of a chip, the share of the state that is donated, the arithmetic and the
collectives. Exit code 1 means that a program leaves less than 10% of the memory
free. A compilation takes minutes.
"""

import argparse

from phenaki_jax.cli import arguments

EXAMPLES = """
  phenaki compile --config configs/generator/paper_1p8b.py --topology v4:4x4x8
  phenaki compile --config configs/generator/paper_1p8b.py \\
    --topology v5e:16x16 --remat auto --json
  phenaki compile --config configs/generator/paper_1p8b.py \\
    --topology v5p:4x4x4 --program sampler
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declare the arguments."""
  arguments.add_config(parser)
  parser.add_argument(
    '--topology',
    required=True,
    metavar='TPU:SIDES',
    help='the pod, such as v4:4x4x8, v5p:4x4x4, v5e:16x16 or v6e:8x8',
  )
  parser.add_argument(
    '--program',
    choices=('step', 'sampler', 'both'),
    default='step',
    help='what to compile (default %(default)s)',
  )
  parser.add_argument(
    '--remat',
    choices=('none', 'matmuls', 'full', 'auto'),
    default='',
    help='what the backward pass recomputes; auto tries the policies in this '
    "order until one fits (default: the config's)",
  )
  parser.add_argument(
    '--json', action='store_true', help='print one JSON object per program'
  )


def run(args: argparse.Namespace) -> int:
  """Compile the programs of one run."""
  import dataclasses
  import json

  from phenaki_jax.runs import compile as compile_lib
  from phenaki_jax.runs import experiment

  fits = {}
  for report in compile_lib.compile_run(
    experiment.resolve(args.config, args.set),
    topology=args.topology,
    programs=compile_lib.PROGRAMS[args.program],
    remat=args.remat,
  ):
    fits[report.program] = report.fits
    if args.json:
      print(json.dumps(dataclasses.asdict(report)), flush=True)
    else:
      print(compile_lib.to_text(report), flush=True)
  return 0 if all(fits.values()) else 1
