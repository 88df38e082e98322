"""Compare the speed of phenaki_jax and phenaki-pytorch on two CPU cores.

Both sides have the same widths, depths, numbers of tokens and threads, in
float32. First calls, which compile, are reported separately; the result is the
best of several calls after warm-up. Each side is a process, and the two take
turns. README.md in this folder describes how to install phenaki-pytorch.
"""

import argparse
import json
import os
import platform
import sys
import time

from versus import load, ours, report
from versus.shapes import CASES, MATMUL, Shapes
from versus.side import Side

LOADED = 3
INSTALL = (
  'Only phenaki_jax is timed: --peer-python is not set. benchmarks/README.md '
  'describes how to install phenaki-pytorch.'
)


def time_in_turns(
  sides: dict[str, Side], names: list[str], *, rounds: int, meter: load.Meter
) -> dict[str, dict[str, list[dict[str, float]]]]:
  """Time the cases of both sides, one side at a time.

  Args:
    sides: the processes, warmed up.
    names: cases to time.
    rounds: turns of each side at each case.
    meter: measures the load by other processes during every turn.

  Returns:
    Of each side and case, the timings of all counted calls.
  """
  timings = {side: {name: [] for name in names} for side in sides}
  for done in range(rounds):
    for name in names:
      # Alternate which side goes first.
      for side in sorted(sides, reverse=bool(done % 2)):
        # Threads of the other side spin for a moment before they sleep.
        time.sleep(0.3)
        calls = 5 if name == MATMUL else 2
        with meter:
          answers = [sides[side].time(name) for _ in range(1 + calls)]
        meter.subtract(sum(answer['cpu_seconds'] for answer in answers))
        # Discard the first call: caches are cold and threads asleep.
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
    help='cases to time',
  )
  parser.add_argument(
    '--rounds', type=int, default=8, help='turns of each side at each case'
  )
  parser.add_argument('--threads', type=int, default=2, help='per side')
  parser.add_argument('--shapes', default='{}', help='other sizes, as JSON')
  parser.add_argument(
    '--wait',
    type=float,
    default=0.0,
    help='seconds to wait until idle',
  )
  parser.add_argument(
    '--allow-load', action='store_true', help='run even if the machine is busy'
  )
  parser.add_argument('--json', action='store_true', help='print JSON instead')
  options = parser.parse_args()
  if options.rounds < 1 or options.threads < 1:
    parser.error('--rounds and --threads must be at least 1')
  return options


def _take_cpus(threads: int) -> None:
  """Restrict this process and its children to `threads` CPUs."""
  if not hasattr(os, 'sched_setaffinity'):
    return
  cpus = sorted(os.sched_getaffinity(0))
  if len(cpus) < threads:
    raise ValueError(
      f'--threads {threads} needs as many CPUs; this machine has {len(cpus)}'
    )
  os.sched_setaffinity(0, cpus[:threads])


def main() -> int:
  """Time both sides and print a table or JSON."""
  options = _options()
  shapes = Shapes.from_json(options.shapes)
  _take_cpus(options.threads)
  before = load.wait_until_idle(options.wait)
  average = os.getloadavg()
  busy = (
    f'other processes use {before:.1f} cores (load {average[0]:.1f}), so that '
    'timings are meaningless'
  )
  if before > load.LIMIT_CORES:
    if not options.allow_load:
      print(
        f'Not started: {busy}. Stop them, use --wait SECONDS, or use '
        '--allow-load to test that the benchmark runs.',
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
  meter = load.Meter()
  timings = time_in_turns(sides, names, rounds=options.rounds, meter=meter)
  for side in sides.values():
    side.close()

  result = report.summarise(
    timings,
    {name: side.facts for name, side in sides.items()},
    ours.count(shapes),
  )
  worst = max(before, meter.cores)
  result |= {
    'idle': worst <= load.LIMIT_CORES,
    'cores_of_other_processes': {'before': before, 'during': meter.cores},
    'load_average_before': average,
    'machine': {'cpu': _cpu(), 'threads': options.threads},
    'rounds': options.rounds,
    'shapes': json.loads(shapes.to_json()),
  }
  if options.json:
    print(json.dumps(result, indent=2))
  else:
    print(f'{_cpu()}, {options.threads} threads')
    print(report.table(result))
  if not result['idle']:
    print(
      f'WARNING: other processes used up to {worst:.1f} cores; THESE NUMBERS '
      'ARE MEANINGLESS.',
      file=sys.stderr,
    )
  return 0


def _cpu() -> str:
  """Return the name of the processor."""
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
