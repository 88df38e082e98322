r"""Check and time one NVIDIA GPU.

    python benchmarks/gpu.py check --out DIR
    python benchmarks/gpu.py speed --out DIR [--minutes 5]

`check` takes at most a minute. It prints the report of `phenaki doctor` and
compares a training step and a sample of the models of `configs/*/tiny.py` with
those of the CPU in float32, and each kernel of attention with the plain one in
float32. The error is the norm of the difference over that of the reference; up
to 1e-4 is allowed in float32 without tf32, and 2e-2 in bfloat16. The exit code
is 1 if one is over.

`speed` measures the rate of a large matmul, then, in bfloat16 with random
parameters: the training step of the sizes `base` (126M: 12 blocks of 768, 6 x
16 x 16 tokens, vectors of T5-base), `paper_0p9b` and `paper_1p8b`, with AdamW
and averaging, at the largest batch that fits; one window of the sampler at 12,
24 and 48 decoding steps with guidance; and a story of 1,024 frames. FLOPs are
those of `phenaki_jax/planning/flops.py`, without recomputation; MFU is relative
to the datasheet. The batch of the sampler is one story. The vectors of its text
are given; their encoder is not timed.

Each part has a time limit, and its results are written to DIR as they come.
Parts for which there is no time are left out, those of least value first.
Products are those of cuBLAS (`XLA_FLAGS=--xla_gpu_enable_triton_gemm=false`,
unless XLA_FLAGS is set).

`--size tiny` runs all parts on a CPU, to test the program; its numbers mean
nothing.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import sys
import time
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from accelerator import parts as parts_lib  # noqa: E402
from accelerator import table  # noqa: E402


def main(arguments: list[str] | None = None) -> int:
  """Run a command, and return the exit code."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  commands = parser.add_subparsers(dest='command', required=True)
  for name in ('check', 'speed', 'part'):
    command = commands.add_parser(name)
    command.add_argument('--size', default='full', choices=('full', 'tiny'))
    if name == 'part':
      command.add_argument('name')
      continue
    command.add_argument('--out', required=True, type=pathlib.Path)
    if name == 'check':
      command.add_argument('--seconds', type=float, default=60.0)
    else:
      command.add_argument('--minutes', type=float, default=5.0)
      names = [part.name for part in parts_lib.PARTS]
      command.add_argument('--parts', nargs='+', choices=names, default=names)
  args = parser.parse_args(arguments)
  return {'check': _check, 'speed': _speed, 'part': _part}[args.command](args)


def _set_options() -> None:
  """Set the options that jax reads when it is loaded."""
  # More than three quarters of the memory.
  os.environ.setdefault('XLA_PYTHON_CLIENT_MEM_FRACTION', '0.92')
  # All products by cuBLAS: to compile and time other kernels for each of them
  # takes minutes, and products as large as these are fastest by cuBLAS.
  os.environ.setdefault('XLA_FLAGS', '--xla_gpu_enable_triton_gemm=false')


def _check(args: argparse.Namespace) -> int:
  began = time.perf_counter()
  # It compiles many small programs in several threads: without choosing the
  # fastest kernels, and without CUDA graphs, which threads cannot record
  # at the same time.
  os.environ.setdefault(
    'XLA_FLAGS',
    '--xla_gpu_enable_triton_gemm=false --xla_gpu_autotune_level=0 '
    '--xla_gpu_enable_command_buffer=',
  )
  from accelerator import check, machine

  args.out.mkdir(parents=True, exist_ok=True)
  rows = []
  with (args.out / 'check.jsonl').open('w') as file:
    file.write(json.dumps(machine.facts()) + '\n')
    left = args.seconds - (time.perf_counter() - began)
    length = 1024 if args.size == 'full' else 32
    for row in check.run(length=length, seconds=left):
      rows.append(row)
      file.write(json.dumps(vars(row)) + '\n')
      file.flush()
  text = table.of_rows(rows)
  (args.out / 'check.md').write_text(text + '\n')
  print(text)
  print(f'{time.perf_counter() - began:.0f} s')
  return int(any(row.state in ('over', 'failed') for row in rows))


def _speed(args: argparse.Namespace) -> int:
  args.out.mkdir(parents=True, exist_ok=True)
  chosen = [part for part in parts_lib.PARTS if part.name in args.parts]
  if args.size == 'tiny':
    # A CPU that is busy with other work may compile slowly.
    chosen = [dataclasses.replace(x, seconds=5 * x.seconds) for x in chosen]
  results: list[dict[str, Any]] = []
  with (
    (args.out / 'speed.jsonl').open('w') as file,
    (args.out / 'speed.log').open('w') as log,
  ):

    def write(result: dict[str, Any]) -> None:
      results.append(result)
      file.write(json.dumps(result) + '\n')
      file.flush()
      print(json.dumps(result), flush=True)
      (args.out / 'speed.md').write_text(table.of_speed(results) + '\n')

    parts_lib.run(
      chosen, size=args.size, minutes=args.minutes, write=write, log=log
    )
  print('\n' + table.of_speed(results))
  return int(any('failed' in one for one in results))


def _part(args: argparse.Namespace) -> int:
  """Run one part when told to, and print its results as JSON."""
  began = time.perf_counter()
  _set_options()
  from accelerator import machine, sampling, shapes, training

  sizes = shapes.SHAPES[args.size]()
  imported = time.perf_counter() - began
  line = sys.stdin.readline()
  if not line:
    return 0
  seconds = float(line)
  name = args.name.removeprefix('train ')
  found = {
    'matmul': lambda: machine.rates(sizes, seconds),
    'sampler': lambda: sampling.time_sampler(sizes, seconds),
  }.get(name, lambda: training.time_step(sizes, name, seconds))()
  print(
    json.dumps({'machine': machine.facts(), 'import_s': imported}), flush=True
  )
  for result in found:
    print(json.dumps(result), flush=True)
  return 0


if __name__ == '__main__':
  code = main()
  sys.stdout.flush()
  # Comparisons that were not done in time are not waited for.
  os._exit(code)
