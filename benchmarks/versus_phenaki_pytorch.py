"""Race phenaki_jax against phenaki-pytorch on two CPU cores.

Same widths, depths and numbers of tokens, float32, the same number of
threads, first calls (which compile) apart, best of several calls after
warming up. Each side is a process of its own; they take turns, and only one
ever works. See README.md beside this file for how the peer is installed.
"""

import argparse
import json
import os
import platform
import sys
import time

from versus import ours, quiet, report
from versus.shapes import CASES, MATMUL, Shapes
from versus.side import Side

LOADED = 3
INSTALL = (
  'Only our side is timed: --peer-python names no Python with '
  'phenaki-pytorch. benchmarks/README.md says how to make one.'
)


def race(
  sides: dict[str, Side], names: list[str], *, rounds: int, watch: quiet.Watch
) -> dict[str, dict[str, list[dict[str, float]]]]:
  """Let the sides take turns, and return the timings of each.

  Args:
    sides: the processes, warm.
    names: cases to time.
    rounds: turns of each side at each case.
    watch: told about every turn.
  """
  timings = {side: {name: [] for name in names} for side in sides}
  for done in range(rounds):
    for name in names:
      # Who goes first changes, in case it matters.
      for side in sorted(sides, reverse=bool(done % 2)):
        # Threads of the other side spin a moment before they sleep.
        time.sleep(0.3)
        calls = 5 if name == MATMUL else 2
        with watch:
          answers = [sides[side].time(name) for _ in range(1 + calls)]
        watch.own(sum(answer['cpu_seconds'] for answer in answers))
        # The first call of a turn finds cold caches and sleeping threads.
        timings[side][name] += answers[1:]
    print(f'round {done + 1} of {rounds}', file=sys.stderr)
  return timings


def _options() -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument(
    '--peer-python',
    default=os.environ.get('PHENAKI_PEER_PYTHON', ''),
    help='a Python with torch and phenaki-pytorch ($PHENAKI_PEER_PYTHON)',
  )
  parser.add_argument(
    '--cases',
    nargs='+',
    choices=CASES,
    default=list(CASES),
    help='what to time',
  )
  parser.add_argument(
    '--rounds', type=int, default=8, help='turns of each side at each case'
  )
  parser.add_argument('--threads', type=int, default=2, help='of each side')
  parser.add_argument(
    '--shapes', default='{}', help='other sizes as JSON, to try this out'
  )
  parser.add_argument(
    '--wait', type=float, default=0.0, help='seconds to wait for a quiet box'
  )
  parser.add_argument(
    '--allow-load', action='store_true', help='time even if others are running'
  )
  parser.add_argument('--json', action='store_true', help='print JSON instead')
  options = parser.parse_args()
  if options.rounds < 1 or options.threads < 1:
    parser.error('--rounds and --threads are 1 or more')
  return options


def _take_cpus(threads: int) -> None:
  """Keep this process and its children to as many CPUs as threads."""
  if not hasattr(os, 'sched_setaffinity'):
    return
  cpus = sorted(os.sched_getaffinity(0))
  if len(cpus) < threads:
    raise ValueError(f'{threads} threads need as many CPUs; here: {len(cpus)}')
  os.sched_setaffinity(0, cpus[:threads])


def main() -> int:
  """Time both sides and print a table or JSON."""
  options = _options()
  shapes = Shapes.from_json(options.shapes)
  _take_cpus(options.threads)
  before = quiet.wait(options.wait)
  load = os.getloadavg()
  busy = (
    f'others keep {before:.1f} cores busy (load {load[0]:.1f}); timings mean '
    'nothing'
  )
  if before > quiet.LIMIT_CORES:
    if not options.allow_load:
      print(
        f'Not started: {busy}. Stop them, or --wait SECONDS for them, or '
        '--allow-load to see that everything runs.',
        file=sys.stderr,
      )
      return LOADED
    print(f'WARNING: {busy}.', file=sys.stderr)

  names = [*options.cases, MATMUL]
  arguments = [shapes.to_json(), json.dumps(names), str(options.threads)]
  sides = {'ours': Side(sys.executable, 'versus.ours', arguments)}
  if options.peer_python:
    sides['peer'] = Side(options.peer_python, 'versus.peer', arguments)
  else:
    print(INSTALL, file=sys.stderr)
  watch = quiet.Watch()
  timings = race(sides, names, rounds=options.rounds, watch=watch)
  for side in sides.values():
    side.close()

  result = report.summarise(
    timings,
    {name: side.facts for name, side in sides.items()},
    ours.count(shapes),
  )
  worst = max(before, watch.others)
  result |= {
    'quiet': worst <= quiet.LIMIT_CORES,
    'cores_busy_with_others': {'before': before, 'during': watch.others},
    'load_average_before': load,
    'machine': {'cpu': _cpu(), 'threads': options.threads},
    'rounds': options.rounds,
    'shapes': json.loads(shapes.to_json()),
  }
  if options.json:
    print(json.dumps(result, indent=2))
  else:
    print(report.table(result))
  if not result['quiet']:
    print(
      f'WARNING: others kept up to {worst:.1f} cores busy; THESE NUMBERS MEAN '
      'NOTHING.',
      file=sys.stderr,
    )
  return 0


def _cpu() -> str:
  """Name the processor as well as the system can."""
  try:
    with open('/proc/cpuinfo') as lines:
      for line in lines:
        if line.startswith('model name'):
          return line.partition(':')[2].strip()
  except OSError:
    pass
  return platform.processor() or platform.machine()


if __name__ == '__main__':
  try:
    sys.exit(main())
  except (ValueError, RuntimeError) as error:
    sys.exit(f'versus_phenaki_pytorch: {error}')
