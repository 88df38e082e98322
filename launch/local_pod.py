#!/usr/bin/env python3
"""Run one phenaki command as several processes of one job on this machine.

    python launch/local_pod.py --processes 2 -- train --config ... --workdir ...

All processes run the same command and connect over loopback, as the hosts of a
pod connect over their network. If one fails, the others are stopped and all are
started again, as `launch/supervisor.py` says.
"""

import os
import shlex
import socket
import subprocess
import sys

import job
from supervisor import Retries, supervise


def main() -> int:
  """Run the processes; return the exit code of the job."""
  parser = job.parser(__doc__)
  parser.add_argument('--processes', type=int, default=2, metavar='N')
  parser.add_argument('--devices', type=int, default=1, metavar='N',
                      help='virtual CPU devices of each process')  # fmt: skip
  parser.set_defaults(retries=0)
  args = job.parse(parser)
  if args.processes < 1:
    parser.error(f'--processes is {args.processes}, but must be at least 1')
  command = job.phenaki(args, sys.executable)

  def settings() -> list[dict[str, str]]:
    """Return the environment of each process, with a new port."""
    with socket.socket() as free:
      free.bind(('127.0.0.1', 0))
      address = f'127.0.0.1:{free.getsockname()[1]}'
    return [
      {
        **args.env,
        'PHENAKI_COORDINATOR': address,
        'PHENAKI_NUM_PROCESSES': str(args.processes),
        'PHENAKI_PROCESS_INDEX': str(index),
        'JAX_NUM_CPU_DEVICES': str(args.devices),
        'JAX_PLATFORMS': 'cpu',
        # Huge pages, unless the user decides otherwise.
        'GLIBC_TUNABLES': os.environ.get(
          'GLIBC_TUNABLES', 'glibc.malloc.hugetlb=1'
        ),
      }
      for index in range(args.processes)
    ]

  if args.dry_run:
    for each in settings():
      stated = [f'{name}={value}' for name, value in each.items()]
      print('env', shlex.join([*stated, *command]))
    return job.DONE
  return supervise(
    lambda: [
      subprocess.Popen(command, env={**os.environ, **each})
      for each in settings()
    ],
    command=command,
    retries=Retries(args.retries),
  )


if __name__ == '__main__':
  sys.exit(main())
