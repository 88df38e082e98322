"""Train many small steps, and see that nothing grows.

    python benchmarks/faults/soak.py [--steps 5000]

A checkpoint is saved every 50 steps and the two newest are kept. `RSS` is the
memory of the process, after unused memory is returned to the system, `files`
the number of its open files, `threads` that of its threads. A row has the least
of each between any two checkpoints of a fifth of the steps, as a save that has
not ended holds more. From the second fifth to the last, the memory must grow by
less than 2%, and the other two by less than one for every second save.
"""

import argparse
import contextlib
import ctypes
import gc
import os
import pathlib
import sys
import tempfile
import threading

from children import toy

from phenaki_jax.training.config import TrainConfig

EVERY, KEPT = 50, 2


def rss() -> float:
  """Return the resident memory of this process, in MB, without free memory."""
  gc.collect()
  with contextlib.suppress(OSError, AttributeError):  # not glibc
    ctypes.CDLL('libc.so.6').malloc_trim(0)
  pages = int(pathlib.Path('/proc/self/statm').read_text().split()[1])
  return pages * os.sysconf('SC_PAGE_SIZE') / 1e6


def main() -> int:
  """Print a row for each fifth of the steps; return 1 if something grew."""
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--steps', type=int, default=5000)
  args = parser.parse_args()
  part, rows = args.steps // 5, []
  line = '{:>6} {:>8.1f} {:>6} {:>8} {:>5}'
  print(f'{"step":>6} {"RSS MB":>8} {"files":>6} {"threads":>8} {"kept":>5}')

  def take(folder: pathlib.Path) -> tuple[float, int, int, int]:
    kept = list((folder / 'checkpoints').glob('*/manifest.json'))
    files = len(os.listdir('/proc/self/fd'))
    return rss(), files, threading.active_count(), len(kept)

  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    taken = []

    def stream(start: int):
      for step, batch in enumerate(toy.batches(start), start):
        # In the middle between two checkpoints.
        if step > EVERY and step % EVERY == EVERY // 2:
          taken.append(take(folder))
        if step and step % part == 0 and taken:
          rows.append((step, *map(min, zip(*taken, strict=True))))
          print(line.format(*rows[-1]), flush=True)
          taken.clear()
        yield batch

    config = TrainConfig(
      steps=args.steps + EVERY,
      log_every=100,
      checkpoint_every=EVERY,
      keep_checkpoints=KEPT,
    )
    code = toy.train(folder, stream=stream, config=config)
  first, last = rows[1], rows[-1]
  growth = last[1] / first[1] - 1
  print(f'growth of the memory: {growth:.2%}')
  # On a busy machine every sample of a fifth may meet a save that runs.
  saves = 3 * part // EVERY
  faults = {
    f'the run ended with {code}': code != 0,
    'the memory grew': growth >= 0.02,
    'files stayed open': last[2] - first[2] >= saves / 2,
    'threads were left': last[3] - first[3] >= saves / 2,
    'checkpoints were not removed': any(
      row[4] not in (KEPT, KEPT + 1) for row in rows[1:]
    ),
  }
  found = [what for what, is_so in faults.items() if is_so]
  print('; '.join(found) or 'no fault')
  return int(bool(found))


if __name__ == '__main__':
  sys.exit(main())
