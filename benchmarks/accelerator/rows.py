"""Rows of the table of checks."""

import dataclasses
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import jax
import numpy as np

Measure: TypeAlias = Callable[[], Mapping[str, float] | str]
"""Returns errors by name, or why there are none."""

Job: TypeAlias = tuple[str, float, Measure]
"""The arguments of `measured`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
  """One comparison.

  Attributes:
    name: what is compared.
    error: norm of the difference over norm of the reference.
    limit: the largest error that is allowed.
    state: 'ok', 'over' the limit, 'failed' with an exception, or 'unsupported'.
    note: why there is no error.
  """

  name: str
  error: float | None = None
  limit: float | None = None
  state: Literal['ok', 'over', 'failed', 'unsupported'] = 'ok'
  note: str = ''


def error(found: Any, reference: Any) -> float:
  """Return the norm of the difference of two trees over that of the second."""
  pairs = [
    (np.asarray(a, np.float64), np.asarray(b, np.float64))
    for a, b in zip(
      jax.tree.leaves(found), jax.tree.leaves(reference), strict=True
    )
  ]
  difference = sum(float(np.sum((a - b) ** 2)) for a, b in pairs)
  whole = sum(float(np.sum(b**2)) for _, b in pairs)
  return float(np.sqrt(difference / whole))


def measured(name: str, limit: float, measure: Measure) -> list[Row]:
  """Return the rows of a measurement, or one that says why it failed.

  Args:
    name: what is compared.
    limit: the largest error that is allowed.
    measure: returns errors by name, or why there are none.
  """
  try:
    found = measure()
  except Exception as failure:
    traceback.print_exc()
    note = f'{type(failure).__name__}: {(str(failure).splitlines() or [""])[0]}'
    return [Row(name=name, limit=limit, state='failed', note=note[:300])]
  if isinstance(found, str):
    note = found[:200]
    return [Row(name=name, limit=limit, state='unsupported', note=note)]
  return [
    Row(
      name=f'{name}: {part}',
      error=value,
      limit=limit,
      # NaN is over the limit too.
      state='ok' if value <= limit else 'over',
    )
    for part, value in found.items()
  ]
