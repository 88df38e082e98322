"""Show how far a run is: a bar on a terminal, plain lines elsewhere."""

import io
import sys
import time
from collections.abc import Mapping
from typing import Any

import tqdm


def readable(seconds: float) -> str:
  """Write a duration as '2:05' or '1:02:05'."""
  minutes, rest = divmod(round(max(seconds, 0.0)), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f'{hours}:{minutes:02d}:{rest:02d}'
  return f'{minutes}:{rest:02d}'


class Progress:
  """Follow the steps of a run on a stream."""

  def __init__(
    self,
    *,
    start: int,
    steps: int,
    muted: bool = False,
    stream: io.TextIOBase | None = None,
  ) -> None:
    """Begin after a step of a run of so many.

    Args:
      start: steps done before.
      steps: steps in all.
      muted: show nothing, as all processes but the first do.
      stream: where to; standard error unless given.
    """
    self._stream: Any = sys.stderr if stream is None else stream
    self._steps, self._muted = steps, muted
    self._bar: tqdm.tqdm | None = None
    self._began: tuple[int, float] | None = None
    if self._stream.isatty() and not muted:
      self._bar = tqdm.tqdm(
        total=steps,
        initial=start,
        unit='step',
        file=self._stream,
        disable=False,
      )

  def advance(self, step: int) -> None:
    """Say that a step is done."""
    if self._began is None:
      # The first step compiles; it says nothing about the others.
      self._began = (step, time.monotonic())
    if self._bar is not None:
      self._bar.update(step - self._bar.n)

  def report(self, step: int, values: Mapping[str, float]) -> None:
    """Show the newest numbers, with the time left."""
    if self._muted:
      return
    shown = ', '.join(f'{name} {value:.4g}' for name, value in values.items())
    if self._bar is not None:
      self._bar.set_postfix_str(shown)
      return
    print(
      f'step {step}/{self._steps}, {self._left(step)} left, {shown}',
      file=self._stream,
      flush=True,
    )

  def say(self, sentence: str) -> None:
    """Show a sentence without breaking the bar."""
    if self._muted:
      return
    if self._bar is not None:
      self._bar.write(sentence, file=self._stream)
    else:
      print(sentence, file=self._stream, flush=True)

  def close(self) -> None:
    """Leave the stream as it is."""
    if self._bar is not None:
      self._bar.close()

  def _left(self, step: int) -> str:
    if self._began is None or step <= self._began[0]:
      return '?'
    pace = (time.monotonic() - self._began[1]) / (step - self._began[0])
    return readable(pace * (self._steps - step))
