#!/usr/bin/env python3
"""Run a job on the GPUs of a Slurm cluster, one process per GPU.

    python launch/slurm.py --name big --nodes 4 --gpus 8 --time 24:00:00 -- \\
      train --config FILE --workdir runs/big

Start it in the folder of the project, on a file system that all nodes share.
Two minutes before the time limit the job saves, and goes back into the queue.
After a failure it starts again on the same nodes (launch/supervisor.py). A
second job of the same name waits until the first has ended.
"""

import argparse
import shlex
import sys

import job


def main() -> int:
  """Submit the script, or print it."""
  parser = job.parser(__doc__, 'name')
  for option, text in (('nodes', 'nodes'), ('gpus', 'GPUs of each node')):
    parser.add_argument(
      f'--{option}', type=job.at_least(1), default=1, metavar='N', help=text
    )
  parser.add_argument('--time', default='24:00:00', help='limit of each start')
  parser.add_argument('--partition', help="(default: the cluster's)")
  parser.add_argument('--account', help='that is charged')
  args = job.parse(parser)
  job.call(
    ['sbatch', '{file}'],
    dry_run=args.dry_run,
    file=(f'{args.name}.sh', script(args)),
  )
  return job.DONE


def script(args: argparse.Namespace) -> str:
  """Return the batch script."""
  options = {
    'job-name': args.name,
    'dependency': 'singleton',
    'nodes': args.nodes,
    'ntasks-per-node': args.gpus,
    'gpus-per-node': args.gpus,
    'time': args.time,
    'partition': args.partition,
    'account': args.account,
    # To the supervisor: the steps themselves also get a SIGTERM of scancel,
    # after which the job must not go back into the queue.
    'signal': 'B:USR1@120',
    'open-mode': 'append',
    'output': f'{args.name}-%j.log',
  }
  supervisor = ['python3', 'launch/supervisor.py', f'--retries={args.retries}']
  # A SIGTERM to srun would kill the tasks; this one goes to the tasks alone.
  stop = 'scancel --signal=TERM $SLURM_JOB_ID'
  command = ['srun', '--kill-on-bad-exit=1', *job.phenaki(args)]
  lines = [
    '#!/bin/bash',
    *(f'#SBATCH --{k}={v}' for k, v in options.items() if v is not None),
    '#SBATCH --requeue',
    job.exports(args.env).rstrip(),
    f'exec {shlex.join(supervisor)} \\',
    f'  "--stop={stop}" \\',
    '  "--requeue=scontrol requeue $SLURM_JOB_ID" \\',
    f'  -- {shlex.join(command)}',
  ]
  return '\n'.join(lines) + '\n'


if __name__ == '__main__':
  sys.exit(main())
