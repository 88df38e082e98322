"""Goodput: the share of a run's time that was spent on steps that count.

It is computed from the events of all starts of the run (training/events.py).
The rest of the time is badput, each second of it with its reason.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from phenaki_jax.errors import NotFoundError
from phenaki_jax.training.events import FOLDER

Start = Sequence[Mapping[str, Any]]
"""The events of one start, in order."""

GOOD = 'steps'
REASONS = {
  GOOD: 'training, less the wait for data',
  'wait': 'waiting for data',
  'lost': 'steps done again, because no checkpoint kept them',
  'save': 'saving',
  'evaluate': 'evaluating',
  'compile': 'compiling',
  'restore': 'reading the checkpoint',
  'prepare': 'opening data and model',
  'stop': 'finishing the last save',
  'down': 'between two starts',
}
"""What each kind of time was spent on."""

# Events without a kind of their own.
_KINDS = {'preempt': 'stop', 'fault': 'stop'}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Span:
  """The seconds `begin` to `end` of a run, and the kind of this time."""

  kind: str
  begin: float
  end: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Goodput:
  """Where the time of a run went.

  Attributes:
    starts: how often it was started.
    preempted: how many starts a signal ended.
    steps: steps that count.
    lost: steps that were done again.
    spans: all of its time, in order, from 0.
  """

  starts: int
  preempted: int
  steps: int
  lost: int
  spans: tuple[Span, ...]

  @property
  def seconds(self) -> dict[str, float]:
    """Return the time of each kind, in the order of `REASONS`."""
    totals = dict.fromkeys(REASONS, 0.0)
    for span in self.spans:
      totals[span.kind] += span.end - span.begin
    return totals

  @property
  def total(self) -> float:
    """Return the time of the run."""
    return self.spans[-1].end if self.spans else 0.0

  @property
  def share(self) -> float:
    """Return the share of the time that was spent on steps that count."""
    return self.seconds[GOOD] / self.total if self.total else 0.0

  @property
  def wait_share(self) -> float:
    """Return the share of the time of the steps that they waited for data."""
    wait = self.seconds['wait']
    return wait / (wait + self.seconds[GOOD]) if wait else 0.0


def read(workdir: epath.PathLike) -> list[Start]:
  """Read the events of all starts of a run.

  A last line that a killed process left incomplete is ignored.

  Raises:
    NotFoundError: if the run has none.
  """
  folder = epath.Path(workdir) / FOLDER
  paths = sorted(folder.glob('*.jsonl')) if folder.is_dir() else []
  if not paths:
    raise NotFoundError(
      f'{workdir} holds no {FOLDER}/*.jsonl; name the --workdir of a '
      '`phenaki train` command of this version'
    )
  starts: list[Start] = []
  for path in paths:
    *lines, last = path.read_text().splitlines() or ['']
    events = [json.loads(line) for line in lines]
    try:
      events.append(json.loads(last))
    except ValueError:
      pass
    if events:
      starts.append(events)
  return starts


def measure(starts: Sequence[Start]) -> Goodput:
  """Compute where the time of a run went.

  Steps after the one that was restored later, by another start or by the same
  one, were done again: their time is lost. The time between two starts counts,
  unless the first of them had finished the run.
  """
  spans: list[Span] = []
  steps = lost = 0
  now = 0.0

  def spend(kind: str, seconds: float) -> None:
    nonlocal now
    # Clocks of two machines may differ a little.
    if seconds > 0:
      spans.append(Span(kind=kind, begin=now, end=now + seconds))
      now += seconds

  before: Mapping[str, Any] | None = None
  all_kept = _kept(starts)
  for events, kept_after in zip(starts, all_kept, strict=True):
    if before is not None and before.get('code') != 0:
      spend('down', float(events[0]['time'] - before['time']))
    before = events[0]
    for event, kept in zip(events[1:], kept_after[1:], strict=True):
      seconds = float(event['time'] - before['time'])
      before = event
      if event['event'] != GOOD:
        name = str(event['event'])
        spend(_KINDS.get(name, name), seconds)
        continue
      count = event['last'] - event['first'] + 1
      good = int(max(0, min(count, kept - event['first'] + 1)))
      wait = min(event['wait'], seconds) * good / count
      steps, lost = steps + good, lost + count - good
      spend(GOOD, seconds * good / count - wait)
      spend('wait', wait)
      spend('lost', seconds * (count - good) / count)
  preempted = sum(
    any(event['event'] == 'preempt' for event in events) for events in starts
  )
  return Goodput(
    starts=len(starts),
    preempted=preempted,
    steps=steps,
    lost=lost,
    spans=tuple(spans),
  )


def _kept(starts: Sequence[Start]) -> list[list[float]]:
  """Return, for each event, the last step before it that no restore undid."""
  kept, least = [], float('inf')
  for events in reversed(starts):
    after = []
    for event in reversed(events):
      after.append(least)
      # A start goes on after the step that it restores.
      if event['event'] in ('start', 'restore'):
        least = min(least, float(event.get('step', least)))
    kept.append(after[::-1])
  return kept[::-1]


def to_markdown(goodput: Goodput) -> str:
  """Return the numbers as a Markdown table."""
  rows = [
    f'| {kind} | {text} | {seconds:.1f} | {seconds / goodput.total:.3f} |'
    for (kind, text), seconds in zip(
      REASONS.items(), goodput.seconds.values(), strict=True
    )
    if seconds
  ]
  return '\n'.join(
    [
      describe(goodput),
      '',
      '| time | spent on | seconds | share |',
      '| --- | --- | --- | --- |',
      *rows,
    ]
  )


def describe(goodput: Goodput) -> str:
  """Return the result in one sentence."""
  return (
    f'Goodput {goodput.share:.3f} of {goodput.total:.1f} s: {goodput.steps} '
    f'steps, {goodput.lost} done again; started {goodput.starts} times, '
    f'preempted {goodput.preempted}. Steps waited for data for '
    f'{goodput.wait_share:.4f} of their time.'
  )
