"""Measure the import time of phenaki_jax.

Each import runs several times, each time in a new process. The result is the
median minus the median of an empty Python process. The benchmark fails if an
import loads TensorFlow or if `import phenaki_jax` takes three seconds or more.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

# Modules and the commands that import them.
MODULES = {
  'phenaki_jax': 'any',
  'phenaki_jax.cli.main': 'phenaki --help',
  'phenaki_jax.sampling.sampler': 'phenaki story',
  'phenaki_jax.training.loop': 'phenaki train',
}
LIMIT_SECONDS = 3.0
TENSORFLOW = ('tensorflow', 'tensorflow_text', 'tensorflow_datasets')


def seconds(code: str) -> tuple[float, set[str]]:
  """Run code in a new Python process.

  Returns:
    Wall-clock seconds and the names of the top-level modules loaded.

  Raises:
    subprocess.CalledProcessError: the code failed.
  """
  code += '\nimport sys\nprint(*{n.partition(".")[0] for n in sys.modules})'
  start = time.perf_counter()
  done = subprocess.run(
    [sys.executable, '-c', code], check=True, capture_output=True, text=True
  )
  return time.perf_counter() - start, set(done.stdout.split())


def main() -> int:
  """Print a table or JSON; return 1 if a limit was exceeded, otherwise 0."""
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--runs', type=int, default=5, help='runs per module')
  parser.add_argument('--json', action='store_true', help='print JSON instead')
  options = parser.parse_args()
  # Read the files from disk once, so that no measured run has to.
  seconds('import phenaki_jax.training.loop, phenaki_jax.sampling.sampler')
  empty = statistics.median(seconds('')[0] for _ in range(options.runs))
  rows, failures = [], []
  for module, command in MODULES.items():
    runs = [seconds(f'import {module}') for _ in range(options.runs)]
    median = statistics.median(wall for wall, _ in runs) - empty
    rows.append({'module': module, 'command': command, 'seconds': median})
    if found := runs[0][1].intersection(TENSORFLOW):
      failures.append(f'importing {module} loads {", ".join(sorted(found))}')
  if rows[0]['seconds'] >= LIMIT_SECONDS:
    failures.append(f'importing phenaki_jax takes {rows[0]["seconds"]:.2f} s')
  if options.json:
    print(json.dumps({'empty_python': empty, 'imports': rows}, indent=2))
  else:
    print(f'Seconds above those of an empty Python ({empty:.2f} s), median of')
    print(f'{options.runs} processes:\n')
    for row in rows:
      print(f'{row["seconds"]:6.2f} s  {row["module"]:<30} {row["command"]}')
  for failure in failures:
    print(f'Failed: {failure}.', file=sys.stderr)
  return bool(failures)


if __name__ == '__main__':
  sys.exit(main())
