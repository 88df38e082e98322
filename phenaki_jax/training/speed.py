"""Throughput of a run, and the share of time that it waits for data."""

import collections
import contextlib
import time
from collections.abc import Iterator, Mapping


class Speed:
  """Counts steps, examples and waiting time between two log records."""

  def __init__(self) -> None:
    """Start with the clock stopped: the first step compiles."""
    self._since: float | None = None
    self._waited = 0.0
    self._steps = 0
    self._rows: collections.Counter[str] = collections.Counter()

  @contextlib.contextmanager
  def waiting(self) -> Iterator[None]:
    """Count the time of the block as waiting for data."""
    began = time.monotonic()
    yield
    self._waited += time.monotonic() - began

  def count(self, num_examples: Mapping[str, int]) -> None:
    """Count a step, and the examples of each part of its global batch."""
    if self._since is None:
      self._since, self._waited = time.monotonic(), 0.0
      return
    self._steps += 1
    self._rows.update(num_examples)

  def take(self) -> dict[str, float]:
    """Return rates per second since the last call, and the share of waiting.

    Empty if no step was counted.
    """
    if self._since is None or not self._steps:
      return {}
    seconds = max(time.monotonic() - self._since, 1e-9)
    values = {
      'steps_per_second': self._steps / seconds,
      'data_wait': self._waited / seconds,
    }
    for part, rows in self._rows.items():
      values[f'{part}_per_second'] = rows / seconds
    self.restart()
    self._since = time.monotonic()
    return values

  def restart(self) -> None:
    """Stop the clock until the next step is done."""
    self._since = None
    self._waited, self._steps = 0.0, 0
    self._rows.clear()
