"""Check this machine: versions, devices, disk, permissions, what is missing.

Lines that start with '!' are problems, and the exit code is then 1.
"""

import argparse

EXAMPLES = """
  phenaki doctor
  phenaki doctor --workdir /mnt/runs
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declare the arguments."""
  parser.add_argument(
    '--workdir',
    default='runs',
    metavar='DIR',
    help='folder of the runs (default %(default)s)',
  )


def run(args: argparse.Namespace) -> int:
  """Print all checks."""
  from phenaki_jax.runs import doctor

  code = 0
  for check in doctor.examine(args.workdir):
    print(f'{"!" if check.is_problem else " "} {check.name}: {check.found}')
    if check.advice:
      print(f'    {check.advice}')
    code |= check.is_problem
  return code
