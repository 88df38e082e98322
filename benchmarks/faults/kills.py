"""Kill a run at random instants, resume it, and compare the result.

    python benchmarks/faults/kills.py [--kills 50] [--steps 20]

A small model trains in a process that is killed (SIGKILL) after a random time,
and started again with the same arguments until it ends; four times of five
after the first step, which takes long to compile. Every run that ended
must equal one that was never killed: all arrays of the checkpoint, those of
Adam too, and all logged losses. `lost` counts the steps that were done again;
checkpoints are four steps apart, and one may be unfinished.
"""

import argparse
import collections
import pathlib
import random
import re
import sys
import tempfile
import time

from children import Child, Phase, same, train

PAUSE = 0.1  # seconds per step
BEFORE = ('', 'start', 'compile', 'load')


def main() -> int:
  """Print where the kills hit; return 1 if a run differs."""
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--kills', type=int, default=50)
  parser.add_argument('--steps', type=int, default=20)
  parser.add_argument('--seed', type=int, default=0)
  args = parser.parse_args()
  rng, phase = random.Random(args.seed), Phase()
  hit: collections.Counter = collections.Counter()
  lost, runs, different = [], 0, 0
  with tempfile.TemporaryDirectory() as name:
    root = pathlib.Path(name)

    def start(folder: pathlib.Path) -> Child:
      phase.set('')
      return Child.start(
        lambda: train(folder, phase, steps=args.steps, pause=PAUSE),
        root / 'log',
      )

    def compared(folder: pathlib.Path) -> bool:
      call = Child.start(
        lambda: same(folder, root / 'whole', args.steps), root / 'log'
      )
      return call.wait() == 0

    began = time.monotonic()
    if start(root / 'whole').wait():
      print((root / 'log').read_text())
      return 1
    seconds = time.monotonic() - began
    print(f'never killed: {seconds:.1f} s', flush=True)
    folder = root / 'run0'
    reached = 0
    while True:
      is_last = sum(hit.values()) >= args.kills
      child = start(folder)
      if is_last:
        code = child.wait()
      elif rng.random() < 0.2:
        code = child.wait(rng.uniform(0, seconds))
      else:
        code = None
        while code is None and phase.get().split(' ')[0] in BEFORE:
          code = child.wait(0.005)
        if code is None:
          code = child.wait(rng.uniform(0, args.steps * PAUSE))
      text = (root / 'log').read_text()
      begun = re.findall(r'Resuming .* after step (\d+)[.]', text)
      if reached and begun:
        lost.append(reached - int(begun[-1]))
      if code is None:
        child.kill()
        child.wait()
        word = phase.get().split()
        hit[word[0]] += 1
        if len(word) > 1:
          reached = int(word[1])
        (root / 'log').write_text('')
        continue
      if code:
        print(text)
        return 1
      runs += 1
      if not compared(folder):
        different += 1
        print((root / 'log').read_text())
      (root / 'log').write_text('')
      if is_last:
        break
      reached, folder = 0, root / f'run{runs}'
  print(f'{"phase":<10} {"kills":>6}')
  for word, count in hit.most_common():
    print(f'{word:<10} {count:>6}')
  print(f'{"all":<10} {sum(hit.values()):>6}')
  print(
    f'{runs} runs, {runs - different} of them bit-identical to the one never '
    f'killed; at most {max(lost, default=0)} steps lost'
  )
  return int(different > 0)


if __name__ == '__main__':
  sys.exit(main())
