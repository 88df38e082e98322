r"""Compile time of a training step: of many layers and few, cold and warm.

    python benchmarks/compile_time.py

Each compilation is a new process, which lowers and compiles the real step of
`configs/generator/tiny.py`, with a loop over the layers (`generator.scan`). The
seconds are those of the CPU, of all threads, which other programs disturb
less. A warm start reads the program from `JAX_COMPILATION_CACHE_DIR`. The
benchmark fails if the many layers take over 1.2 times the time of the few, or a
warm start over 0.4 times that of a cold one.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

CONFIG = pathlib.Path(__file__).parents[1] / 'configs/generator/tiny.py'
DEPTH_LIMIT, WARM_LIMIT = 1.2, 0.4


def compile_step(layers: int) -> float:
  """Lower and compile a step in this process; return the CPU seconds."""
  from phenaki_jax import sharding
  from phenaki_jax.runs import experiment
  from phenaki_jax.runs.assemble import assemble_abstract

  settings = [f'generator.num_layers={layers}', 'generator.scan=True']
  chosen = experiment.resolve(str(CONFIG), settings)
  run = assemble_abstract(chosen, mesh=sharding.make_mesh(chosen.mesh))
  began = time.process_time()
  run.lower().compile()
  return time.process_time() - began


def measure(layers: int, folder: str | None = None) -> float:
  """Run `compile_step` in a new process, with a cache in a folder."""
  environment = {**os.environ, 'JAX_NUM_CPU_DEVICES': '1'}
  environment.pop('JAX_COMPILATION_CACHE_DIR', None)
  if folder:
    environment['JAX_COMPILATION_CACHE_DIR'] = folder
    environment['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0'
  command = [sys.executable, __file__, f'--child={layers}']
  done = subprocess.run(
    command, check=True, capture_output=True, text=True, env=environment
  )
  return float(done.stdout.split()[-1])


def main() -> int:
  """Print the seconds and ratios; return 1 if a limit was exceeded."""
  parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n')[0])
  parser.add_argument('--few', type=int, default=6, help='layers')
  parser.add_argument('--many', type=int, default=48, help='layers')
  parser.add_argument('--runs', type=int, default=3, help='of each, in turn')
  parser.add_argument('--json', action='store_true', help='print JSON instead')
  parser.add_argument('--child', type=int, help=argparse.SUPPRESS)
  options = parser.parse_args()
  if options.child:
    print(compile_step(options.child))
    return 0
  seconds: dict[str, list[float]] = {'few': [], 'many': [], 'warm': []}
  for _ in range(options.runs):
    with tempfile.TemporaryDirectory() as folder:
      seconds['few'].append(measure(options.few))
      seconds['many'].append(measure(options.many, folder))
      seconds['warm'].append(measure(options.many, folder))
  best = {name: min(values) for name, values in seconds.items()}
  depth, warm = best['many'] / best['few'], best['warm'] / best['many']
  if options.json:
    print(json.dumps({'seconds': seconds, 'depth': depth, 'warm': warm}))
  else:
    for name, layers in (
      ('few', options.few),
      ('many', options.many),
      ('warm', options.many),
    ):
      middle = statistics.median(seconds[name])
      print(
        f'{best[name]:6.1f} CPU seconds, {layers:>2} layers'
        f'{", warm" * (name == "warm")} (median {middle:.1f})'
      )
    print(f'{depth:6.2f} times for the layers, at most {DEPTH_LIMIT}')
    print(f'{warm:6.2f} times for a warm start, at most {WARM_LIMIT}')
  return int(depth > DEPTH_LIMIT or warm > WARM_LIMIT)


if __name__ == '__main__':
  sys.exit(main())
