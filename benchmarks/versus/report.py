"""Summary statistics of the timings, and a table of them."""

import math
import statistics
from typing import Any

from versus.shapes import MATMUL

# Targets: our fraction of the rate of a large matmul, and how much faster than
# the peer each case is: where torch's matmul is about as fast as jax's, and
# where it is not, as on some processors.
SHARE = 0.75
FASTER = {'tokenizer': 1.7, 'generator': 1.7, 'sampling': 3.0}
FASTER_THAN_SLOW = {'tokenizer': 2.1, 'generator': 2.5, 'sampling': 4.0}
AS_FAST = 0.75


def targets(rates: dict[str, float]) -> dict[str, float]:
  """Return how many times faster each case should be.

  Args:
    rates: those of a large matmul, by side.
  """
  if rates.get('peer', math.inf) < AS_FAST * rates['ours']:
    return FASTER_THAN_SLOW
  return FASTER


def summarise(
  timings: dict[str, dict[str, list[dict[str, float]]]],
  facts: dict[str, dict[str, Any]],
  flops: dict[str, int],
) -> dict[str, Any]:
  """Summarise timings; sides are compared by their best calls.

  Args:
    timings: for each side ('ours', and optionally 'peer') and case, a list of
      {'seconds', 'cpu_seconds'}.
    facts: the facts reported by each side's process.
    flops: FLOPs of one call of each case, including the matmul.

  Returns:
    Versions, matmul rates, the statistics of each case, and the timings.
  """
  rates = {
    side: flops[MATMUL] / _best(calls[MATMUL]) / 1e9
    for side, calls in timings.items()
  }
  cases = {}
  for name in timings['ours']:
    if name == MATMUL:
      continue
    best = {side: _best(calls[name]) for side, calls in timings.items()}
    gflops = flops[name] / best['ours'] / 1e9
    case: dict[str, Any] = {
      'parameters': {s: facts[s]['parameters'][name] for s in timings},
      'seconds': best,
      'median_seconds': {
        side: statistics.median(call['seconds'] for call in calls[name])
        for side, calls in timings.items()
      },
      'best_cpu_seconds': {
        side: min(call['cpu_seconds'] for call in calls[name])
        for side, calls in timings.items()
      },
      'first_call_seconds': {
        side: facts[side]['first_call_seconds'][name] for side in timings
      },
      'flops': flops[name],
      'gflops_per_second': gflops,
      'share_of_matmul': gflops / rates['ours'],
    }
    if 'peer' in timings:
      case['peer_flops'] = facts['peer']['flops'][name]
      case['times_faster'] = best['peer'] / best['ours']
      case['share_of_peer_matmul'] = gflops / rates['peer']
    cases[name] = case
  return {
    'versions': {side: facts[side]['versions'] for side in timings},
    'matmul_gflops_per_second': rates,
    'cases': cases,
    'timings': timings,
  }


def _best(calls: list[dict[str, float]]) -> float:
  return min(call['seconds'] for call in calls)


def table(result: dict[str, Any]) -> str:
  """Format a summary as a text table."""
  sides = list(result['versions'])
  versions = ', '.join(
    f'{package} {version}'
    for side in sides
    for package, version in result['versions'][side].items()
  )
  rates = result['matmul_gflops_per_second']
  rows = [
    [
      *('', 'parameters', 'seconds', '', 'faster', 'counted', 'reached'),
      *('of a matmul', ''),
    ],
    [
      *('', 'ours/peer', 'ours', 'peer', '', 'GFLOP', 'GFLOP/s'),
      *('by jax', 'by torch'),
    ],
  ]
  missed, wanted = [], targets(rates)
  for name, case in result['cases'].items():
    millions = '/'.join(f'{n / 1e6:.1f}M' for n in case['parameters'].values())
    faster = case.get('times_faster')
    peer = case['seconds'].get('peer')
    rows.append(
      [
        name,
        millions,
        f'{case["seconds"]["ours"]:.3f}',
        '-' if peer is None else f'{peer:.3f}',
        '-' if faster is None else f'{faster:.2f}x',
        f'{case["flops"] / 1e9:.1f}',
        f'{case["gflops_per_second"]:.1f}',
        f'{case["share_of_matmul"]:.0%}',
        '-' if faster is None else f'{case["share_of_peer_matmul"]:.0%}',
      ]
    )
    if faster is not None and faster < wanted[name]:
      missed.append(f'{name} is {faster:.2f}x as fast, not {wanted[name]}x')
    if case['share_of_matmul'] < SHARE:
      share = case['share_of_matmul']
      missed.append(f'{name} reaches {share:.0%} of a matmul, not {SHARE:.0%}')
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  lines = [
    '  '.join(
      cell.ljust(width) if i == 0 else cell.rjust(width)
      for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    ).rstrip()
    for row in rows
  ]
  packages = {'ours': 'jax', 'peer': 'torch'}
  reached = ', '.join(f'{packages[s]} {rate:.1f}' for s, rate in rates.items())
  lines += ['', f'A large matmul: {reached} GFLOP/s. {versions}.']
  lines += [f'Missed: {target}.' for target in missed]
  return '\n'.join(lines)
