"""Time our training steps and decoding against the machine's matrix products.

The sizes are those of `versus/shapes.py`, everything is float32. Arithmetic
is counted (`flops.py`), times are the best of several rounds after the first,
and a large matrix product is timed in the same process, on the same threads,
between them: their ratio holds on a busy machine too, where seconds do not.

    python benchmarks/step.py [--rounds 5] [--cases tokenizer generator]
"""

import argparse

from versus import ours, worker
from versus.shapes import CASES, MATMUL, Shapes

from phenaki_jax.cli.huge_pages import start_with_huge_pages


def main() -> None:
  """Time the cases in turn and print a row for each."""
  parser = argparse.ArgumentParser(description='Time our steps.')
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--cases', nargs='+', default=list(CASES), choices=CASES)
  args = parser.parse_args()
  shapes = Shapes()
  facts: dict = {'parameters': {}}
  names = [MATMUL, *args.cases]
  calls = {name: ours.BUILDERS[name](shapes, facts) for name in names}
  first = {name: worker.timed(call)['seconds'] for name, call in calls.items()}
  rounds = [
    {name: worker.timed(call) for name, call in calls.items()}
    for _ in range(args.rounds)
  ]
  work = ours.count(shapes)
  print(
    f'{"case":<10} {"first s":>8} {"best s":>7} {"GFLOP":>7} {"GFLOP/s":>8} '
    f'{"of matmul":>9} {"CPU s":>6} {"of matmul, by CPU":>17}'
  )
  reached = {}
  for name in names:
    seconds = min(one[name]['seconds'] for one in rounds)
    cpu = min(one[name]['cpu_seconds'] for one in rounds)
    reached[name] = work[name] / seconds, work[name] / cpu
    share, by_cpu = (
      rate / best
      for rate, best in zip(reached[name], reached[MATMUL], strict=True)
    )
    print(
      f'{name:<10} {first[name]:>8.1f} {seconds:>7.3f} '
      f'{work[name] / 1e9:>7.1f} {reached[name][0] / 1e9:>8.1f} '
      f'{share:>9.0%} {cpu:>6.2f} {by_cpu:>17.0%}'
    )


if __name__ == '__main__':
  start_with_huge_pages()
  main()
