"""The loss on examples that training never sees, the same ones every time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from phenaki_jax.errors import UserError
from phenaki_jax.evaluation.base import Value

Sums = Mapping[str, tuple[float, float]]
"""By name: a weighted sum, and the weight that went into it."""


class HeldoutEvaluator:
  """Measure a model's own loss terms on held-out batches.

  Yields `heldout/<name>` for every term that the model names.
  """

  def __init__(
    self,
    measure: Callable[[Any, Any], Sums],
    batches: Sequence[Any],
    *,
    every: int,
  ) -> None:
    """Keep what a run needs.

    Args:
      measure: maps (state, batch) to sums; it must draw nothing at random, or
        the same in every call.
      batches: held-out batches, one or more.
      every: steps between two runs; 0: only when asked.

    Raises:
      UserError: there are no batches.
    """
    if not batches:
      raise UserError('there are no held-out batches to measure')
    self._measure = measure
    self._batches = batches
    self.every = every

  def run(self, step: int, state: Any) -> Iterator[tuple[str, Value]]:
    """Yield the mean of each term over all batches, if it counted at all."""
    del step
    sums: dict[str, float] = {}
    counts: dict[str, float] = {}
    for batch in self._batches:
      for name, (total, count) in self._measure(state, batch).items():
        sums[name] = sums.get(name, 0.0) + float(total)
        counts[name] = counts.get(name, 0.0) + float(count)
    for name in sorted(sums):
      if counts[name]:
        yield f'heldout/{name}', sums[name] / counts[name]
