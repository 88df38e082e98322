"""Lose one of two processes, in three ways, and time until the other ends.

    python benchmarks/faults/peers.py [--patience 30]

Two processes train together over loopback. At step 5 one of them is killed,
sleeps without end while it loads a batch, or raises an error in its loader. The
other must not wait without end: it must end with a code that is not 0, and say
who is to blame. The first step must compile within the patience.
"""

import argparse
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIMIT = 300.0  # seconds
WAYS = ('killed', 'stalled', 'error')


def work(args: argparse.Namespace) -> int:
  """Train the toy model of the tests, until something happens."""
  import jax
  from children import toy

  from phenaki_jax import sharding

  jax.distributed.initialize(args.address, 2, args.index)

  def stream(start: int):
    for step in range(start, 1000):
      if step == 5 and args.index == 1:
        print('fault', file=sys.stderr, flush=True)
        if args.way == 'killed':
          os.kill(os.getpid(), 9)
        if args.way == 'error':
          raise OSError('the disk with the clips is gone')
        while True:
          time.sleep(1)
      rows = slice(4 * args.index, 4 * args.index + 4)
      yield toy.batch(step, rows=rows)

  mesh = sharding.make_mesh(sharding.MeshConfig(data=1, fsdp=2))
  options = {} if args.index == 0 else {'writers': []}
  return toy.train(
    args.folder,
    steps=1000,
    stream=stream,
    mesh=mesh,
    patience=args.patience,
    **options,
  )


def main() -> int:
  """Print a row for each way; return 1 if a process waits without end."""
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--patience', type=float, default=30.0)
  parser.add_argument('--ways', nargs='+', default=WAYS, choices=WAYS)
  parser.add_argument('--way', help=argparse.SUPPRESS)
  parser.add_argument('--folder', help=argparse.SUPPRESS)
  parser.add_argument('--index', type=int, help=argparse.SUPPRESS)
  parser.add_argument('--address', help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.folder:
    return work(args)
  print(f'{"process 1":<10} {"codes":>8} {"ended after s":>13}  process 0 says')
  failed = 0
  for way in args.ways:
    with tempfile.TemporaryDirectory() as folder:
      codes, seconds, text = lose(way, folder, args.patience)
    said = [
      line
      for line in text.splitlines()
      if 'Process 1 ' in line or 'task:1' in line or 'by peer' in line
    ]
    failed += codes[0] in (0, None) or not said
    print(
      f'{way:<10} {codes[0]!s:>4}{codes[1]!s:>4} {seconds:>13.1f}  '
      f'{said[0].strip()[:150] if said else "NOTHING: " + text[-800:]}',
      flush=True,
    )
  return int(failed > 0)


def lose(
  way: str, folder: str, patience: float
) -> tuple[list[int | None], float, str]:
  """Return both exit codes, the seconds that process 0 took, and its log."""
  with socket.socket() as server:
    server.bind(('127.0.0.1', 0))
    port = server.getsockname()[1]
  children, logs = [], []
  for index in range(2):
    logs.append(pathlib.Path(folder) / f'log{index}')
    command = [sys.executable, __file__, f'--way={way}', f'--index={index}']
    command += [f'--folder={folder}/run', f'--address=127.0.0.1:{port}']
    command += [f'--patience={patience}']
    children.append(
      subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=logs[-1].open('w'),
        env={**os.environ, 'JAX_NUM_CPU_DEVICES': '1'},
      )
    )
  end = time.monotonic() + LIMIT
  while 'fault' not in logs[1].read_text() and time.monotonic() < end:
    if children[0].poll() is not None:
      break
    time.sleep(0.05)
  began = time.monotonic()
  try:
    children[0].wait(LIMIT)
  except subprocess.TimeoutExpired:
    pass
  seconds = time.monotonic() - began
  try:
    # The one that stalls is ended by its own watchdog.
    children[1].wait(patience)
  except subprocess.TimeoutExpired:
    pass
  codes = [child.poll() for child in children]
  for child in children:
    child.kill()
    child.wait()
  return codes, seconds, logs[0].read_text()


if __name__ == '__main__':
  sys.exit(main())
