"""The report of a sweep: CSV, Markdown, figures and one HTML file."""

import csv
import io
import math
import shlex
from collections.abc import Sequence

from etils import epath

from phenaki_jax.files.atomic import replace_file
from phenaki_jax.runs.ablate_figures import figures
from phenaki_jax.runs.ablate_html import to_html
from phenaki_jax.runs.ablate_results import (
  Column,
  Mean,
  Results,
  Row,
  collect,
)
from phenaki_jax.runs.ablate_sweep import Point, Sweep

_SETTINGS = (
  'steps',
  'examples',
  'tokens',
  'images asked',
  'of examples',
  'of tokens',
)


def write_report(sweep: Sweep, out: epath.PathLike) -> list[epath.Path]:
  """Write the report of what is finished, and return its files.

  They are `units.csv` (all numbers of every unit), `report.md`, the figures
  and `report.html`, which holds everything and needs no other file.
  """
  out = epath.Path(out)
  results = collect(sweep, out)
  drawn = dict(figures(results))
  files = {
    'units.csv': to_csv(results).encode(),
    'report.md': to_markdown(results, list(drawn)).encode(),
    **{f'{name}.png': content for name, content in drawn.items()},
    'report.html': to_html(
      results, out, tables=summary(results), figures=drawn
    ).encode(),
  }
  for name, content in files.items():
    replace_file(out / name, content)
  return [out / name for name in files]


def to_csv(results: Results) -> str:
  """Return a line for each unit of each curve, with all of its numbers."""
  rows = [
    (series, row)
    for series, points in results.series.items()
    for point in points
    for row in results.of(point)
  ]
  numbers = sorted({name for _, row in rows for name in row.numbers})
  file = io.StringIO()
  writer = csv.writer(file, lineterminator='\n')
  writer.writerow(
    ['series', 'label', 'seed', 'state', 'name', *_SETTINGS, *numbers]
  )
  for series, row in rows:
    unit = row.unit
    writer.writerow(
      [
        *(series, unit.label, unit.seed, row.state, unit.name),
        *_settings(row),
        *(row.numbers.get(name, '') for name in numbers),
      ]
    )
  return file.getvalue()


def to_markdown(results: Results, names: Sequence[str]) -> str:
  """Return the means as a table, with the figures of these names."""
  sweep = results.sweep
  lines = [f'# {sweep.name}', '', f'`{sweep.spec}`: {progress(results)}.', '']
  for series, (head, *rows) in summary(results).items():
    lines += [f'## {series}', ''] if series else []
    lines += [_line(head), _line(['---', *['---:'] * (len(head) - 1)])]
    lines += [*map(_line, rows), '']
  lines += [LEGEND, '']
  lines += [f'![{name}]({name}.png)\n' for name in names]
  return '\n'.join(lines)


def progress(results: Results) -> str:
  """Say how many units are finished."""
  rows = list(results.rows.values())
  count = sum(row.state == 'finished' for row in rows)
  return f'{count} of {len(rows)} units are finished'


def summary(results: Results) -> dict[str, list[list[str]]]:
  """Return the table of each curve: its head, and a row for each point."""
  head = ['unit', 'seeds', *_SETTINGS]
  head += [column.title for column in results.columns]
  return {
    series: [head, *(_cells(results, point) for point in points)]
    for series, points in results.series.items()
  }


LEGEND = (
  'Means over seeds ± their standard errors; *missing* where no seed is '
  'finished. *images asked*: `data.image_share`; *of examples*, *of tokens*: '
  'the realised share of images in every batch. *facts of frames*: the facts '
  'of held-out prompts other than motion. Frechet distances are of features of '
  'open_nsfw; lower is better.'
)


def _cells(results: Results, point: Point) -> list[str]:
  steps, examples, tokens, *shares = _settings(results.of(point)[0])
  return [
    point.label,
    f'{results.finished(point)} of {len(point.units)}',
    f'{steps:,}',
    f'{examples:,}',
    f'{tokens:,}',
    *(f'{share:.3f}' for share in shares),
    *(
      _cell(results.mean(point, c), c) if results.finished(point) else 'missing'
      for c in results.columns
    ),
  ]


def _settings(row: Row) -> list[int | float]:
  """Return the values of `_SETTINGS`."""
  unit, experiment = row.unit, row.unit.experiment
  made = unit.composition
  return [
    experiment.train.steps,
    unit.examples,
    unit.tokens,
    experiment.data.image_share,
    made.image_share,
    made.token_share(experiment.generator.grid[0]),
  ]


def _cell(mean: Mean, column: Column) -> str:
  if not mean.values:  # such as the loss on images of a unit without any
    return '-'
  digits = 3 if column.is_share or mean.mean < 10 else 1
  text = f'{mean.mean:.{digits}f}'
  if math.isnan(mean.error):
    return text
  return f'{text} ± {mean.error:.{digits}f}'


def _line(cells: Sequence[str]) -> str:
  return f'| {" | ".join(cells)} |'


def listing(sweep: Sweep, out: epath.PathLike) -> str:
  """Return a table of the units, with what they take and how far they are."""
  curves: dict[str, list[str]] = {}
  for point in sweep.points:
    for unit in point.units:
      curves.setdefault(unit.name, []).append(point.series)
  head = ['unit', 'curve', 'seed', *_SETTINGS, 'state', 'folder']
  lines = [_line(head), _line(['---'] * len(head))]
  for unit in sweep.units:
    row = Row(unit=unit, state=unit.state(out), numbers={})
    steps, examples, tokens, *shares = _settings(row)
    curve = ' and '.join(curves[unit.name])
    cells = [unit.label, curve, unit.seed, steps, examples, tokens]
    cells += [f'{share:.3f}' for share in shares]
    folder = shlex.quote(str(unit.run_dir(out).parent))
    lines.append(_line([*map(str, cells), row.state, folder]))
  return '\n'.join(lines)
