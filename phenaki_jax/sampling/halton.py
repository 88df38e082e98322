"""The order of tokens along a Halton sequence (arXiv 2503.17076).

Consecutive points of the sequence lie far from each other, so that the tokens
of one decoding step depend little on each other, whatever their number.
"""

import functools

import numpy as np
from jaxtyping import Int

_BASES = (2, 3, 5)


@functools.lru_cache(maxsize=32)
def halton_ranks(
  grid: tuple[int, int, int],
) -> Int[np.ndarray, ' tokens']:
  """Return the place of each token in the order, from 0.

  The cells of the grid are taken in the order in which the points of the 3-D
  sequence with the bases 2, 3 and 5 (time, rows, columns) first fall into them.

  Args:
    grid: latent frames, rows and columns.
  """
  total = int(np.prod(grid))
  ranks = np.full(total, -1)
  found, begin, count = 0, 0, 4 * total
  while found < total:
    points = np.arange(begin, begin + count)
    cells = [
      np.minimum((_inverse(points, base) * side).astype(int), side - 1)
      for base, side in zip(_BASES, grid, strict=True)
    ]
    flat = np.ravel_multi_index(cells, grid)
    unique, first = np.unique(flat, return_index=True)
    is_new = ranks[unique] < 0
    for cell in unique[is_new][np.argsort(first[is_new])]:
      ranks[cell] = found
      found += 1
    begin, count = begin + count, 2 * count
  return ranks


def _inverse(points: np.ndarray, base: int) -> np.ndarray:
  """Return the radical inverse of each point: its digits after the comma."""
  value, share = np.zeros(len(points)), 1.0 / base
  while points.any():
    points, digits = np.divmod(points, base)
    value += digits * share
    share /= base
  return value
