r"""Compare the speed of training steps and decoding with a large matmul.

    GLIBC_TUNABLES=glibc.malloc.hugetlb=1 \
      python benchmarks/step.py [--rounds 5] [--cases tokenizer generator]

The sizes are those of `versus/shapes.py`, in float32. FLOPs are those of
`phenaki_jax/planning/flops.py`; times are the best of several rounds, after a
first call that is not counted. A large matmul is timed in the same process and
in every round: the ratio to it is meaningful on a busy machine, where seconds
are not.

GLIBC_TUNABLES asks glibc for huge pages. A compiled step allocates its scratch
memory anew at each call, and the kernel clears every page on first use; with
pages of 2 MB instead of 4 KB, a training step on a CPU takes about three
quarters of the time. This requires glibc 2.35 or newer, and `madvise` or
`always` in /sys/kernel/mm/transparent_hugepage/enabled. The variable is read
when a process starts. Set it to glibc.malloc.hugetlb=0 to compare.
"""

import argparse
import os

from versus import ours, worker
from versus.shapes import CASES, MATMUL, Shapes


def main() -> None:
  """Time the cases and print a row for each."""
  parser = argparse.ArgumentParser(description='Time steps and decoding.')
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--cases', nargs='+', default=list(CASES), choices=CASES)
  args = parser.parse_args()
  if 'glibc.malloc.hugetlb' not in os.environ.get('GLIBC_TUNABLES', ''):
    print('Without huge pages; set GLIBC_TUNABLES=glibc.malloc.hugetlb=1.')
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
  main()
