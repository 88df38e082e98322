#!/usr/bin/env python3
"""Run one phenaki command as several processes of one job on this machine.

    python launch/local_pod.py --processes 2 -- train --config ... --workdir ...

All processes run the same command and connect over loopback, as the hosts of a
pod connect over their network. If one fails, the others are stopped and its
exit code is returned. `--dry-run` prints the commands without running them.
"""

import argparse
import os
import shlex
import socket
import subprocess
import sys
import time


def main() -> int:
  """Run the processes; return the exit code of the first that failed, or 0."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--processes', type=int, default=2, metavar='N')
  parser.add_argument('--devices', type=int, default=1, metavar='N',
                      help='virtual CPU devices of each process')  # fmt: skip
  parser.add_argument('--dry-run', action='store_true')
  parser.add_argument('command', nargs='+', help='a phenaki command, after --')
  args = parser.parse_args()
  if args.processes < 1:
    parser.error(f'--processes is {args.processes}, but must be at least 1')
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    address = f'127.0.0.1:{free.getsockname()[1]}'
  command = [sys.executable, '-m', 'phenaki_jax', *args.command]
  jobs = []
  for index in range(args.processes):
    settings = {
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
    if args.dry_run:
      stated = [f'{name}={value}' for name, value in settings.items()]
      print('env', *stated, shlex.join(command))
    else:
      jobs.append(subprocess.Popen(command, env={**os.environ, **settings}))
  return _wait(jobs)


def _wait(jobs: list[subprocess.Popen]) -> int:
  try:
    while any(job.poll() is None for job in jobs):
      failed = [job.returncode for job in jobs if job.poll()]
      if failed:
        return failed[0]
      time.sleep(0.2)
    return next((job.returncode for job in jobs if job.returncode), 0)
  except KeyboardInterrupt:
    # Ctrl-C reaches all processes; wait until each has saved its state.
    return max((job.wait() for job in jobs), default=0)
  finally:
    for job in jobs:
      job.terminate()
    for job in jobs:
      job.wait()


if __name__ == '__main__':
  sys.exit(main())
