"""What an evaluator is."""

from collections.abc import Iterator
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

Value: TypeAlias = float | int | np.ndarray
"""A number, a picture uint8 [H, W, 3], or a film uint8 [T, H, W, 3]."""


@runtime_checkable
class Evaluator(Protocol):
  """Look at a model from outside and name what was found.

  An evaluator is built with its data and with a function that runs the model;
  it knows no trainer. Names are stable from call to call.
  """

  every: int
  """Steps between two runs; 0: only when asked."""

  def run(self, step: int, state: Any) -> Iterator[tuple[str, Value]]:
    """Yield names and values for the state at a step."""
