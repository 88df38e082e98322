"""The numbers of a sweep: one row per unit, and means over seeds."""

import dataclasses
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from phenaki_jax.runs.ablate_sweep import Point, Sweep
from phenaki_jax.runs.ablate_unit import State, Unit
from phenaki_jax.runs.evaluate import SCORES_FILE


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
  """One measure of the tables and figures.

  Attributes:
    key: name of the number in the rows.
    title: for people.
    better: which values are better: 'higher' or 'lower'.
    is_share: whether it is a share in 0..1.
  """

  key: str
  title: str
  better: str = 'higher'
  is_share: bool = True


# Facts that a single frame does not show.
_MOVING = ('motion', 'action', 'direction')

TEXT = Column(key='clips.total.accuracy', title='text alignment')
STILL = Column(key='clips.still.accuracy', title='facts of frames')
CONCEPTS = Column(key='image_only.total.accuracy', title='image-only concepts')
FRAMES = Column(
  key='frechet.distances.frames',
  title='Frechet, frames',
  better='lower',
  is_share=False,
)
MOTION = Column(
  key='frechet.distances.motion',
  title='Frechet, motion',
  better='lower',
  is_share=False,
)
MOVING = tuple(
  Column(key=f'clips.facts.{fact}.accuracy', title=fact) for fact in _MOVING
)
COLUMNS = (
  TEXT,
  STILL,
  CONCEPTS,
  *MOVING,
  FRAMES,
  MOTION,
  Column(
    key='heldout/loss_clips',
    title='loss, clips',
    better='lower',
    is_share=False,
  ),
  Column(
    key='heldout/loss_images',
    title='loss, images',
    better='lower',
    is_share=False,
  ),
)
"""The measures of a report; those that no unit has are left out."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
  """The results of one unit.

  Attributes:
    unit: what was run.
    state: how far it is; its numbers are there once it is finished.
    numbers: all numbers of its evaluation, and the last held-out losses.
  """

  unit: Unit
  state: State
  numbers: Mapping[str, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mean:
  """The mean over the seeds that have a number.

  Attributes:
    mean: of the numbers; nan without any.
    error: standard error of the mean; nan for fewer than two.
    values: the numbers, in the order of the seeds.
  """

  mean: float
  error: float
  values: tuple[float, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Results:
  """The results of a sweep.

  Attributes:
    sweep: what was run.
    rows: one per unit, by its name.
  """

  sweep: Sweep
  rows: Mapping[str, Row]

  @property
  def columns(self) -> tuple[Column, ...]:
    """Return the measures that at least one unit has."""
    return tuple(
      column
      for column in COLUMNS
      if any(column.key in row.numbers for row in self.rows.values())
    )

  @property
  def series(self) -> dict[str, tuple[Point, ...]]:
    """Return the points of each curve."""
    found: dict[str, tuple[Point, ...]] = {}
    for point in self.sweep.points:
      found[point.series] = (*found.get(point.series, ()), point)
    return found

  def of(self, point: Point) -> tuple[Row, ...]:
    """Return the rows of a point, one per seed."""
    return tuple(self.rows[unit.name] for unit in point.units)

  def finished(self, point: Point) -> int:
    """Return how many units of a point are finished."""
    return sum(row.state == 'finished' for row in self.of(point))

  def mean(self, point: Point, column: Column) -> Mean:
    """Return the mean of a measure over the seeds of a point."""
    rows = self.of(point)
    return mean_of(
      [row.numbers[column.key] for row in rows if column.key in row.numbers]
    )


def mean_of(values: Sequence[float]) -> Mean:
  """Return the mean of numbers, with its standard error."""
  count = len(values)
  return Mean(
    mean=statistics.fmean(values) if count else math.nan,
    error=statistics.stdev(values) / math.sqrt(count)
    if count > 1
    else math.nan,
    values=tuple(values),
  )


def collect(sweep: Sweep, out: epath.PathLike) -> Results:
  """Read the results of all units; those of unfinished ones are empty."""
  rows = {}
  for unit in sweep.units:
    state = unit.state(out)
    numbers = {}
    if state == 'finished':
      scores = json.loads((unit.scores_dir(out) / SCORES_FILE).read_text())
      del scores['protocol']
      numbers = {**_flat(scores), **_losses(unit, unit.run_dir(out))}
      numbers |= _still(numbers)
    rows[unit.name] = Row(unit=unit, state=state, numbers=numbers)
  return Results(sweep=sweep, rows=rows)


def _flat(values: Any, prefix: str = '') -> dict[str, float]:
  """Return the numbers in nested JSON values, by their dotted names."""
  if isinstance(values, Mapping):
    entries = list(values.items())
  elif isinstance(values, list):
    entries = list(enumerate(values))
  elif isinstance(values, int | float) and not isinstance(values, bool):
    return {prefix.rstrip('.'): float(values)}
  else:
    return {}
  return {
    name: number
    for key, value in entries
    for name, number in _flat(value, f'{prefix}{key}.').items()
  }


def _still(numbers: Mapping[str, float]) -> dict[str, float]:
  """Return the accuracy of the facts of clips that single frames show."""
  counts = {'asked': 0.0, 'right': 0.0}
  for name, number in numbers.items():
    match name.split('.'):
      case ['clips', 'facts', fact, ('asked' | 'right') as what]:
        counts[what] += number * (fact not in _MOVING)
  if not counts['asked']:
    return {}
  return {STILL.key: counts['right'] / counts['asked']}


def _losses(unit: Unit, run: epath.Path) -> dict[str, float]:
  """Return the last held-out losses of a training, also of each kind."""
  found: dict[str, float] = {}
  path = run / 'metrics.jsonl'
  if not path.is_file():
    return found
  for line in path.read_text().splitlines():
    found |= {
      name: value
      for name, value in json.loads(line).items()
      if name.startswith('heldout/') and value is not None
    }
  parts = list(unit.composition.counts)
  if len(parts) == 1 and 'heldout/loss' in found:
    found[f'heldout/loss_{parts[0]}'] = found['heldout/loss']
  return found
