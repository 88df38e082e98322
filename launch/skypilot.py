#!/usr/bin/env python3
"""Run a job on a TPU slice through SkyPilot, as a managed job.

    python launch/skypilot.py --name big --accelerator v5p-128 --spot -- \\
      train --config FILE --workdir gs://BUCKET/runs/big

SkyPilot sends the current folder, runs the command on every host of the slice,
and recovers the job after a preemption, after exit code 75, and --retries times
after another failure.
"""

import argparse
import shlex
import sys
from typing import Any

import job
import yaml


def main() -> int:
  """Start the job, or print its task."""
  parser = job.parser(
    __doc__, 'name', 'accelerator', 'runtime-version', 'slices', 'spot'
  )
  parser.add_argument('--zone', help='(default: any)')
  args = job.parse(parser)
  if args.slices > 1:
    parser.error(
      f'--slices is {args.slices}, but SkyPilot starts slices that are not '
      'connected; use launch/tpu_vm.py or launch/jobset.py'
    )
  print(f'# {args.accelerator.describe(1)}', flush=True)
  text = yaml.safe_dump(task(args), sort_keys=False)
  command = ['sky', 'jobs', 'launch', '--yes', '{file}']
  file = (f'{args.name}.yaml', text)
  job.call(command, dry_run=args.dry_run, file=file)
  return job.DONE


def task(args: argparse.Namespace) -> dict[str, Any]:
  """Return the task of SkyPilot."""
  # The folder is sent without its repository.
  commit = job.commit()
  stated = {} if commit is None else {'PHENAKI_COMMIT': commit}
  return {
    'name': args.name,
    'workdir': '.',
    'resources': {
      'infra': f'gcp/*/{args.zone}' if args.zone else 'gcp',
      'accelerators': f'tpu-{args.accelerator.name}',
      'accelerator_args': {
        'tpu_vm': True,
        'runtime_version': args.runtime_version,
      },
      'use_spot': args.spot,
      'job_recovery': {
        'max_restarts_on_errors': args.retries,
        'recover_on_exit_codes': [job.PREEMPTED],
      },
    },
    'envs': {**stated, **args.env},
    'setup': 'bash launch/install.sh',
    'run': shlex.join(job.phenaki(args, '.venv/bin/python')),
  }


if __name__ == '__main__':
  sys.exit(main())
