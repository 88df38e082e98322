"""Progress of a run: a bar on a terminal, plain lines elsewhere."""

import io
import sys
import time
from collections.abc import Mapping
from typing import Any

from phenaki_jax import progress


def readable(seconds: float) -> str:
  """Format a duration as '2:05' or '1:02:05'."""
  minutes, rest = divmod(round(max(seconds, 0.0)), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f'{hours}:{minutes:02d}:{rest:02d}'
  return f'{minutes}:{rest:02d}'


class Progress:
  """Report the steps of a run on a stream."""

  def __init__(
    self,
    *,
    start: int,
    steps: int,
    muted: bool = False,
    stream: io.TextIOBase | None = None,
  ) -> None:
    """Open the bar, if the stream shows one.

    Args:
      start: number of steps done before.
      steps: number of steps of the whole run.
      muted: print nothing; used on all processes but the first.
      stream: where to print; standard error by default.
    """
    self._stream: Any = sys.stderr if stream is None else stream
    self._steps, self._muted = steps, muted
    self._bar: Any = None
    self._began: tuple[int, float] | None = None
    if not muted and progress.is_shown(self._stream):
      self._bar = progress.bar(
        total=steps, initial=start, unit='step', stream=self._stream
      )

  def advance(self, step: int) -> None:
    """Record that a step is done."""
    if self._began is None:
      # The first step compiles; exclude compilation from the estimate.
      self._began = (step, time.monotonic())
    if self._bar is not None:
      self._bar.update(step - self._bar.n)

  def report(self, step: int, values: Mapping[str, float]) -> None:
    """Show the newest numbers and the time left."""
    if self._muted:
      return
    shown = ', '.join(f'{name} {value:.4g}' for name, value in values.items())
    if self._bar is not None:
      self._bar.set_postfix_str(shown)
      return
    self.say(f'step {step}/{self._steps}, {self._left(step)} left, {shown}')

  def say(self, sentence: str) -> None:
    """Print a line without breaking the bar."""
    if self._muted:
      return
    if self._bar is not None:
      self._bar.write(sentence, file=self._stream)
    else:
      print(sentence, file=self._stream, flush=True)

  def close(self) -> None:
    """Close the bar."""
    if self._bar is not None:
      self._bar.close()

  def _left(self, step: int) -> str:
    if self._began is None or step <= self._began[0]:
      return '?'
    pace = (time.monotonic() - self._began[1]) / (step - self._began[0])
    return readable(pace * (self._steps - step))
