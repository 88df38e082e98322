"""A sweep: trainings that differ in a few settings, read and validated.

A sweep is a Python file that defines `get_sweep(arg='')`, a generator of flat
overrides: `{'config': 'generator.py', 'data.image_share': 0.2}`. Beside the
fields of the config, an entry may have

    config      the config of the unit, relative to the sweep's file (required)
    label       what the unit is called in the report (default: its overrides)
    series      which curve of the figures it belongs to
    match       'examples' or 'tokens': `train.steps` is chosen so that the unit
                sees as many of them as the first unit of the sweep
    evaluate.X  field X of the evaluation's request

Entries with equal settings are one unit, which each of their series shows.
"""

import dataclasses
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from phenaki_jax import config as config_lib
from phenaki_jax.errors import UserError
from phenaki_jax.runs import experiment as experiment_lib
from phenaki_jax.runs.ablate_unit import (
  Unit,
  composition,
  make_name,
  tokens_per_step,
)
from phenaki_jax.runs.experiment import Experiment
from phenaki_jax.runs.request import Request

_OWN = ('config', 'label', 'series', 'match')
_EVALUATE = 'evaluate.'
_WANDB = 'wandb.'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
  """One point of a curve: units that differ in their seed alone.

  Attributes:
    label: its name.
    series: the curve that it belongs to; empty if there is only one.
    units: one per seed.
  """

  label: str
  series: str
  units: tuple[Unit, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sweep:
  """A sweep.

  Attributes:
    name: of its file.
    spec: the sweep, as `path.py[:arg]`.
    points: in the order of the file.
    overrides: of all units, as `a.b=value`.
  """

  name: str
  spec: str
  points: tuple[Point, ...]
  overrides: tuple[str, ...] = ()

  @property
  def units(self) -> tuple[Unit, ...]:
    """Return the different units: all of the first seed, then the next."""
    seeds = zip(*(point.units for point in self.points), strict=True)
    found = {unit.name: unit for of_seed in seeds for unit in of_seed}
    return tuple(found.values())

  def only(self, name: str) -> 'Sweep':
    """Return the sweep of the unit of this name alone.

    Raises:
      UserError: there is none.
    """
    for point in self.points:
      units = tuple(unit for unit in point.units if unit.name == name)
      if units:
        alone = dataclasses.replace(point, units=units)
        return dataclasses.replace(self, points=(alone,))
    raise UserError(
      f'{self.spec} has no unit {name} with these --set and --seeds; --dry-run '
      'lists the folders of its units, which have their names'
    )


def load_sweep(
  spec: str, *, seeds: int, overrides: Sequence[str] = ()
) -> Sweep:
  """Read a sweep and resolve the config of every unit.

  Args:
    spec: the sweep, as `path.py[:arg]`.
    seeds: trainings of each entry, with the seeds 0, 1 and so on.
    overrides: `a.b=value`, for all units; the sweep must not set them itself.

  Raises:
    UserError: the sweep or an override is wrong, or a config does not resolve.
    NotFoundError: a file does not exist.
  """
  entries = config_lib.call(spec, 'get_sweep')
  if not isinstance(entries, list) or not entries:
    raise UserError(
      f"get_sweep of {spec} must yield at least one dict, such as {{'config': "
      "'../generator/tiny.py', 'data.image_share': 0.2}"
    )
  path = pathlib.Path(config_lib.split(spec)[0])
  folder, name = path.parent, path.stem
  first: Experiment | None = None
  points: list[Point] = []
  for number, entry in enumerate(entries):
    _check_entry(entry, number, overrides)
    try:
      settings = _settings(entry, overrides)
      config = _find_config(entry['config'], folder)
      experiment = _resolve(config, settings)
      if first is not None and (match := entry.get('match')):
        steps = f'train.steps={_matched_steps(experiment, first, match)}'
        settings = [s for s in settings if not s.startswith('train.steps=')]
        settings.append(steps)
        experiment = _resolve(config, settings)
      units = tuple(
        _make_unit(entry, config, settings, experiment, seed, group=name)
        for seed in range(seeds)
      )
    except UserError as error:
      raise UserError(f'entry {number + 1} of {spec}: {error}') from error
    first = first or experiment
    label, series = units[0].label, entry.get('series', '')
    if any((p.label, p.series) == (label, series) for p in points):
      raise UserError(
        f'two entries of {spec} are called {label!r}; give each a label of '
        'its own'
      )
    points.append(Point(label=label, series=series, units=units))
  return Sweep(
    name=name, spec=spec, points=tuple(points), overrides=tuple(overrides)
  )


def _check_entry(entry: Any, number: int, overrides: Iterable[str]) -> None:
  """Check what needs no config."""
  if not isinstance(entry, Mapping) or 'config' not in entry:
    raise UserError(
      f'entry {number + 1} of the sweep is {entry!r}; yield a dict with a '
      "'config' and the fields to override, such as 'data.image_share': 0.2"
    )
  match = entry.get('match')
  if match not in (None, 'examples', 'tokens'):
    raise UserError(f"match is {match!r}; use 'examples' or 'tokens'")
  for text in overrides:
    name = text.partition('=')[0].strip()
    if name in entry or name == 'seed':
      raise UserError(
        f'--set {text}, but {name} is set by the sweep itself; change the '
        'sweep, its argument or --seeds'
      )


def _settings(entry: Mapping[str, Any], overrides: Sequence[str]) -> list[str]:
  """Return the overrides of the config."""
  own = [
    f'{name}={value if isinstance(value, str) else json.dumps(value)}'
    for name, value in entry.items()
    if name not in _OWN and not name.startswith(_EVALUATE)
  ]
  return [*own, *overrides]


def _find_config(config: str, folder: pathlib.Path) -> str:
  """Return a config that is given relative to the sweep or to here."""
  path, arg = config_lib.split(config)
  beside = (folder / path).resolve()
  if beside.is_file():
    here = pathlib.Path.cwd()
    inside = beside.is_relative_to(here)
    path = str(beside.relative_to(here) if inside else beside)
  return f'{path}:{arg}' if arg else path


def _matched_steps(
  experiment: Experiment, first: Experiment, match: str
) -> int:
  """Return the steps after which as much is seen as by the first unit."""

  def per_step(one: Experiment) -> int:
    if match == 'tokens':
      return tokens_per_step(one)
    return sum(composition(one).counts.values())

  ratio = per_step(first) / per_step(experiment)
  return max(1, round(first.train.steps * ratio))


def _resolve(config: str, settings: list[str]) -> Experiment:
  experiment = experiment_lib.resolve(config, settings)
  if experiment.kind != 'generator':
    raise UserError(
      f'{config} is of a {experiment.kind}; a sweep trains generators'
    )
  return experiment


def _make_unit(
  entry: Mapping[str, Any],
  config: str,
  settings: list[str],
  experiment: Experiment,
  seed: int,
  *,
  group: str,
) -> Unit:
  evaluation = {
    name.removeprefix(_EVALUATE): value
    for name, value in entry.items()
    if name.startswith(_EVALUATE)
  }
  fields = [field.name for field in dataclasses.fields(Request)]
  for name in evaluation:
    if name not in fields or name == 'settings':
      raise UserError(config_lib.unknown_key('evaluation field', name, fields))
  # Where results are sent does not change them.
  decisive = [one for one in settings if not one.startswith(_WANDB)]
  label = entry.get('label') or ', '.join(decisive)
  # The place of the config may differ between machines, its name does not.
  name = make_name(label, seed, [entry['config'], sorted(decisive), seed])
  overrides = [*settings, f'seed={seed}']
  wandb = experiment.wandb
  if wandb.project:
    wandb = dataclasses.replace(wandb, group=wandb.group or group, name=name)
    overrides += [f'{_WANDB}group={wandb.group}', f'{_WANDB}name={wandb.name}']
  return Unit(
    name=name,
    label=label,
    seed=seed,
    config=config,
    overrides=tuple(overrides),
    evaluation=evaluation,
    experiment=dataclasses.replace(experiment, seed=seed, wandb=wandb),
  )
