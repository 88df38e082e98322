#!/usr/bin/env python3
"""Run a command until it is done, and start it again when it was preempted.

    python launch/supervisor.py --retries 5 -- phenaki train --workdir DIR ...

Exit code 0 is the end. 75 means "preempted, start me again". After any other
code the command is started again too, each time after a longer wait; --retries
failures in a row, without a new checkpoint in its --workdir, are the end. Code
2, an error that the user has to correct, is the end at once while there is no
checkpoint; later it may be the consequence of a process that died. A SIGTERM is
passed on to the command, which saves; the supervisor then ends with 75. Where
the command does not pass it on to its own processes, --stop does.
"""

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import job

_FIRST_WAIT, _LONGEST_WAIT = 10.0, 600.0
# Seconds that the other processes have to save, or to end, after the first.
_SAVING, _ENDING = 300.0, 10.0
# Seconds between two runs of --stop: the first may fail, or come too early.
_STOPPING = 20


class Retries:
  """Counts failures in a row, and says how long to wait after each."""

  def __init__(self, limit: int, *, first_wait: float = _FIRST_WAIT) -> None:
    """Start with no failures; waits begin at `first_wait` seconds."""
    self._limit, self._first = limit, first_wait
    self._failures = 0

  def reset(self) -> None:
    """Forget the failures, because the job has got further."""
    self._failures = 0

  def wait(self, reason: str) -> bool:
    """Wait after a failure; return False if there were too many."""
    if self._failures >= self._limit:
      _say(f'{reason}; giving up after {self._failures} retries.')
      return False
    seconds = min(self._first * 2**self._failures, _LONGEST_WAIT)
    self._failures += 1
    _say(
      f'{reason}; retry {self._failures} of {self._limit} in {seconds:g} '
      'seconds.'
    )
    time.sleep(seconds)
    return True


def supervise(
  start: Callable[[], Sequence[subprocess.Popen]],
  *,
  command: Sequence[str],
  retries: Retries,
  stop: str = '',
  requeue: str = '',
) -> int:
  """Run the processes of a job until it is done; return its exit code.

  Args:
    start: starts all processes of the job, which end together.
    command: what they run; a new checkpoint in its --workdir is progress.
    retries: the limit of failures.
    stop: shell command that stops the processes, in place of SIGTERM; it is
      run again until they have ended.
    requeue: shell command to run after SIGUSR1 has stopped the job. The codes
      of a stopped job vary, as Slurm kills the tasks that save last; only an
      error that the user has to correct is not requeued.
  """
  received: list[int] = []
  jobs: Sequence[subprocess.Popen] | None = None

  def on_signal(number: int, frame: object) -> None:
    del frame
    received.append(number)
    if jobs is None:
      raise SystemExit(end(job.PREEMPTED))
    stop_all(jobs)

  def stop_all(jobs: Sequence[subprocess.Popen]) -> None:
    if not jobs:
      return
    if not stop:
      for each in jobs:
        # Never SIGINT: after that of the terminal it would end them at once.
        each.terminate()
      return
    code = subprocess.run(stop, shell=True).returncode
    if code:
      _say(f'{stop!r} ended with code {code}; again in {_STOPPING} seconds.')
    signal.signal(signal.SIGALRM, on_signal)
    signal.alarm(_STOPPING)

  def end(code: int) -> int:
    """Return the exit code after a signal; requeue after SIGUSR1."""
    if received[0] != signal.SIGUSR1:
      # SIGTERM also ends a process that has nothing to save yet.
      return job.PREEMPTED if code == 128 + signal.SIGTERM else code
    if code == job.WRONG and _newest_checkpoint(command) < 0:
      return code
    # Nothing more to stop.
    for number in (*numbers, signal.SIGUSR1):
      signal.signal(number, signal.SIG_IGN)
    subprocess.run(requeue, shell=True, check=True)
    return job.PREEMPTED

  numbers = [signal.SIGTERM, signal.SIGHUP, signal.SIGINT]
  for number in numbers + [signal.SIGUSR1] * bool(requeue):
    if signal.getsignal(number) != signal.SIG_IGN:  # As under nohup.
      signal.signal(number, on_signal)
  newest = _newest_checkpoint(command)
  while True:
    jobs = ()
    jobs = start()
    if received:  # While they were started.
      stop_all(jobs)
    code = _wait(jobs)
    signal.alarm(0)
    jobs = None
    if code == job.DONE:
      return code
    if received:
      return end(code)
    if code == job.PREEMPTED:
      _say('Preempted; starting again.')
      continue
    before, newest = newest, max(newest, _newest_checkpoint(command))
    if code == job.WRONG and newest < 0:
      return code
    if newest > before:
      retries.reset()
    if not retries.wait(f'The command ended with code {code}'):
      return code


def _wait(jobs: Sequence[subprocess.Popen]) -> int:
  """Wait until all processes end; return the code of the first that failed."""
  while not any(each.poll() for each in jobs):
    if all(each.returncode == 0 for each in jobs):
      return job.DONE
    time.sleep(0.1)
  code = next(each.returncode for each in jobs if each.returncode)
  # Without the one that failed, the others wait for it, some for ever.
  if code != job.PREEMPTED or not _ended(jobs, _SAVING):
    for each in jobs:
      each.terminate()
    if not _ended(jobs, _ENDING):
      for each in jobs:
        each.kill()
  for each in jobs:
    each.wait()
  return code if code > 0 else 128 - code


def _ended(jobs: Sequence[subprocess.Popen], seconds: float) -> bool:
  limit = time.monotonic() + seconds
  while any(each.poll() is None for each in jobs):
    if time.monotonic() > limit:
      return False
    time.sleep(0.1)
  return True


def workdir(command: Sequence[str]) -> str | None:
  """Return the --workdir of a command."""
  options = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
  options.add_argument('--workdir', nargs='?')
  return options.parse_known_args(list(command))[0].workdir


def _newest_checkpoint(command: Sequence[str]) -> int:
  """Return the last step that is saved in the command's --workdir, or -1.

  A folder that cannot be read shows no progress, and does not end the job.
  """
  place = workdir(command)
  if place is None:
    return -1
  try:
    # Only here, because it takes a second.
    from etils import epath

    found = epath.Path(place).glob('checkpoints/*/manifest.json')
    return max((int(path.parent.name) for path in found), default=-1)
  except Exception as error:  # Any of a bucket's.
    _say(f'The checkpoints cannot be read: {error}')
    return -1


def _say(message: str) -> None:
  print(message, file=sys.stderr, flush=True)


def main() -> int:
  """Supervise the command line."""
  parser = job.parser(__doc__)
  for option, text in (
    ('stop', 'run to stop the command, in place of a SIGTERM to it'),
    ('requeue', 'run when SIGUSR1 has stopped the command'),
  ):
    parser.add_argument(f'--{option}', default='', metavar='COMMAND', help=text)
  args = job.parse(parser)
  command = args.command
  if args.dry_run:
    job.call(command, dry_run=True)
    return job.DONE
  return supervise(
    lambda: [subprocess.Popen(command)],
    command=command,
    retries=Retries(args.retries),
    stop=args.stop,
    requeue=args.requeue,
  )


if __name__ == '__main__':
  sys.exit(main())
