"""Send SIGTERM to a run in each of its phases.

    python benchmarks/faults/signals.py [--phases compile "save 8"]

Each run must save the step that it is at and end with exit code 75. The same
call must then finish it, with the result of a run that was never stopped.
"""

import argparse
import pathlib
import re
import sys
import tempfile
import time

from children import Child, Phase, same, train

STEPS = 12
PHASES = {
  'compile': 'while the first step is compiled',
  'load 1': 'while the first batch is loaded',
  'load 7': 'while a batch is loaded',
  'step 7': 'between two steps',
  'save 8': 'when a save begins',
  'write 8': 'while a checkpoint is written',
  'evaluate 6': 'in an evaluation',
  'evaluate 12': 'in the last evaluation',
}


def main() -> int:
  """Print a row for each phase; return 1 if a run did not resume."""
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--phases', nargs='+', choices=PHASES, default=PHASES)
  args = parser.parse_args()
  phase, failed = Phase(), 0
  print(
    f'{"SIGTERM":<34} {"code":>4} {"saved":>5} {"seconds":>7} {"resumed":>9}'
  )
  with tempfile.TemporaryDirectory() as name:
    root = pathlib.Path(name)

    def run(folder: pathlib.Path, hit: str = '') -> int | None:
      call = Child.start(
        lambda: train(folder, phase, steps=STEPS, hit=hit), root / 'log'
      )
      return call.wait()

    if run(root / 'whole'):
      print((root / 'log').read_text())
      return 1
    for word in args.phases:
      (root / 'log').write_text('')
      folder = root / word.replace(' ', '')
      began = time.monotonic()
      code = run(folder, word)
      seconds = time.monotonic() - began
      saved = [int(p.name) for p in (folder / 'checkpoints').iterdir()]
      text = (root / 'log').read_text()
      ends = re.search('Stopped', text)
      again = run(folder)
      equal = Child.start(
        lambda f=folder: same(f, root / 'whole', STEPS), root / 'log'
      ).wait()
      is_right = code == 75 and ends and again == 0 and equal == 0
      failed += not is_right
      print(
        f'{PHASES[word]:<34} {code:>4} {max(saved):>5} {seconds:>7.1f} '
        f'{"identical" if equal == 0 else "DIFFERS":>9}',
        flush=True,
      )
      if not is_right:
        print((root / 'log').read_text())
  return int(failed > 0)


if __name__ == '__main__':
  sys.exit(main())
