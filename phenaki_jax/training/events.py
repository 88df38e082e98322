"""The events of a run: on what its time was spent, over all its starts.

Each start of a run writes one file, `events/0001.jsonl` and so on. Every line
ends an interval: {"time": 1790000000.0, "event": "save", "step": 200} says that
the time since the line before was spent on a save.

| event | the time since the event before was spent on |
| --- | --- |
| start | nothing: the first line, with the commit, versions and devices |
| prepare | opening the data, the model and what was saved |
| restore | reading the checkpoint of `step`; 0 if there is none |
| compile | compiling the step |
| steps | the steps `first` to `last`, of which `wait` seconds on data |
| save | handing the state of `step` to the writer in the background |
| evaluate | the evaluators of `step` |
| stop | finishing the last save; `code` is the exit code |
| preempt | the same, after a signal stopped the run |
| fault | nothing: an exception, of which only the name is kept |

The steps after that of a `restore` are done again. It follows the preparations
of each start, and also steps, where the state was lost (`training.recovery`).
"""

import contextlib
import json
import re
import time
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
from etils import epath

from phenaki_jax.files.append import append

FOLDER = 'events'


class Events:
  """Writes the events of one start of a run, in the first process.

  Nothing is written before `open`, because the directory may turn out to
  belong to another run. As a context, it records an exception as a fault.

  Attributes:
    facts: JSON values for the line of the start, to be set before `open`.
  """

  def __init__(
    self,
    workdir: epath.PathLike,
    *,
    interval: float = 60.0,
    clock: Callable[[], float] = time.time,
  ) -> None:
    """Begin the first interval.

    Args:
      workdir: the run directory.
      interval: seconds after which steps are recorded without another event.
        A killed process loses the record of so much time.
      clock: returns the time in seconds since 1970.
    """
    self._folder = epath.Path(workdir) / FOLDER
    self.facts: dict[str, Any] = {}
    self._interval, self._clock = interval, clock
    self._path: epath.Path | None = None
    self._began = self._last = clock()
    self._lines: list[str] = []
    self._steps: tuple[int, int] | None = None  # recorded; done
    self._waited = 0.0

  def __enter__(self) -> 'Events':
    """Return itself."""
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: types.TracebackType | None,
  ) -> None:
    """Record an exception, without its message, which may hold paths."""
    del error, trace
    if kind is not None:
      self._flush()
      self.record('fault', error=kind.__name__)

  def open(self, step: int) -> None:
    """Create the file of this start, which goes on after a step."""
    numbers = [
      int(path.stem)
      for path in (self._folder.iterdir() if self._folder.is_dir() else ())
      if re.fullmatch(r'\d+\.jsonl', path.name)
    ]
    self._path = self._folder / f'{max(numbers, default=0) + 1:04d}.jsonl'
    start = {'event': 'start', 'step': step, **self.facts}
    self._write(self._line(self._began, start), *self._lines)

  def record(self, event: str, **fields: Any) -> None:
    """End the current interval, as an event of this name."""
    self._last = self._clock()
    line = self._line(self._last, {'event': event, **fields})
    if self._path is None:
      self._lines.append(line)
    else:
      self._write(line)

  @contextlib.contextmanager
  def during(self, event: str, **fields: Any) -> Iterator[dict[str, Any]]:
    """Record the block as one interval; what came before is another.

    Yields:
      The fields, to which the block may add what it finds out.
    """
    self._flush()
    yield fields
    self.record(event, **fields)

  @contextlib.contextmanager
  def waiting(self) -> Iterator[None]:
    """Count the block as waiting for data, within the steps."""
    began = self._clock()
    yield
    self._waited += self._clock() - began

  def step(self, step: int) -> None:
    """Count a step that was started; the first call ends the compilation."""
    if self._steps is None:
      self._steps, self._waited = (step - 1, step), 0.0
      self.record('compile', step=step)
      return
    self._steps = (self._steps[0], step)
    if self._clock() - self._last >= self._interval:
      self._flush()

  def rewind(self, step: int) -> None:
    """Go on after an earlier step, which was restored while the run goes on."""
    self._steps, self._waited = (step, step), 0.0

  def _flush(self) -> None:
    """Record the preparations, or the steps since they were last recorded."""
    if self._steps is None:
      self.record('prepare')
      return
    recorded, done = self._steps
    if done > recorded:
      wait = round(self._waited, 3)
      self.record('steps', first=recorded + 1, last=done, wait=wait)
    self._steps, self._waited = (done, done), 0.0

  def _line(self, seconds: float, fields: Mapping[str, Any]) -> str:
    return json.dumps({'time': round(seconds, 3), **fields}) + '\n'

  def _write(self, *lines: str) -> None:
    if self._path is not None and jax.process_index() == 0:
      append(self._path, ''.join(lines))
