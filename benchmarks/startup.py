"""Time what a fresh Python needs to import the parts of phenaki_jax.

Each import happens in a process of its own, one at a time, several times; the
median counts, less what an empty Python takes. It fails when an import brings
TensorFlow along, or `import phenaki_jax` takes three seconds.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

# What is imported, and who waits for it.
MODULES = {
  'phenaki_jax': 'everybody',
  'phenaki_jax.cli.main': 'phenaki --help',
  'phenaki_jax.sampling.sampler': 'phenaki story',
  'phenaki_jax.training.loop': 'phenaki train',
}
LIMIT_SECONDS = 3.0
TENSORFLOW = ('tensorflow', 'tensorflow_text', 'tensorflow_datasets')


def seconds(code: str) -> tuple[float, set[str]]:
  """Run code in a fresh Python; return wall seconds and what it loaded.

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
  """Print a table, or JSON, and say whether the limits were kept."""
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--runs', type=int, default=5, help='processes a module')
  parser.add_argument('--json', action='store_true', help='print JSON instead')
  options = parser.parse_args()
  # The first one reads the files from disk.
  seconds('import phenaki_jax.training.loop, phenaki_jax.sampling.sampler')
  empty = statistics.median(seconds('')[0] for _ in range(options.runs))
  rows, faults = [], []
  for module, waits in MODULES.items():
    runs = [seconds(f'import {module}') for _ in range(options.runs)]
    median = statistics.median(wall for wall, _ in runs) - empty
    rows.append({'module': module, 'for': waits, 'seconds': median})
    if found := runs[0][1].intersection(TENSORFLOW):
      faults.append(f'importing {module} loads {", ".join(sorted(found))}')
  if rows[0]['seconds'] >= LIMIT_SECONDS:
    faults.append(f'importing phenaki_jax takes {rows[0]["seconds"]:.2f} s')
  if options.json:
    print(json.dumps({'empty_python': empty, 'imports': rows}, indent=2))
  else:
    print(f'An empty Python takes {empty:.2f} s; on top of that, median of')
    print(f'{options.runs} fresh processes:\n')
    for row in rows:
      print(f'{row["seconds"]:6.2f} s  {row["module"]:<30} {row["for"]}')
  for fault in faults:
    print(f'Too much: {fault}.', file=sys.stderr)
  return bool(faults)


if __name__ == '__main__':
  sys.exit(main())
