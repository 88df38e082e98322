"""The loss on a fixed set of examples that training never sees."""

import collections
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

Sums = Mapping[str, tuple[float, float]]
"""By name: a weighted sum and the sum of its weights."""


@dataclasses.dataclass(kw_only=True, eq=False)
class HeldoutEvaluator:
  """Measures the loss terms of a model on held-out batches.

  Attributes:
    measure: maps (state, batch) to sums; it must be deterministic.
    batches: at least one held-out batch; none raises a ValueError.
    every: steps between two evaluations; 0 never evaluates in training.
  """

  measure: Callable[[Any, Any], Sums]
  batches: Sequence[Any]
  every: int

  def __post_init__(self) -> None:
    if not self.batches:
      raise ValueError('there are no held-out batches')

  def run(self, step: int, state: Any) -> Iterator[tuple[str, float]]:
    """Yield `heldout/<name>`, the mean over all batches, for each term.

    Terms with a total weight of 0 are left out.
    """
    del step
    sums: dict[str, Any] = collections.defaultdict(lambda: np.zeros(2))
    for batch in self.batches:
      for name, sum_and_weight in self.measure(state, batch).items():
        sums[name] += sum_and_weight
    for name, (total, weight) in sorted(sums.items()):
      if weight:
        yield f'heldout/{name}', float(total / weight)
