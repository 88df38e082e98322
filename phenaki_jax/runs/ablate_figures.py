"""The figures of a sweep's report."""

import io
import math
from collections.abc import Iterator, Sequence
from typing import Any

from phenaki_jax.runs import ablate_results
from phenaki_jax.runs.ablate_results import Column, Results
from phenaki_jax.runs.ablate_sweep import Point

_PANEL = (4.2, 3.2)  # inches
_ACROSS = 3
_GREY = '0.5'


def measures(results: Results) -> bytes:
  """Draw every measure over the points of each curve, as PNG.

  A line joins the means, bars show their standard errors, and small dots the
  single seeds. A point without a finished unit is called missing; one with
  fewer than all seeds shows how many there are.
  """
  columns = results.columns
  across = min(_ACROSS, len(columns))
  figure, panels = _panels(-(-len(columns) // across), across)
  labels = _labels(results)
  for panel, column in zip(panels, columns, strict=False):
    for number, (series, points) in enumerate(results.series.items()):
      _draw_curve(panel, results, column, points, labels, series, number)
    panel.set_xticks(range(len(labels)), labels, rotation=30, ha='right')
    panel.set_xlim(-0.5, len(labels) - 0.5)
    panel.set_title(f'{column.title} ({column.better} is better)', fontsize=10)
    if column.is_share:
      panel.set_ylim(-0.03, 1.03)
  for panel in panels[len(columns) :]:
    panel.remove()
  _legend(figure, panels[0], results)
  return _png(figure)


def trade_offs(results: Results) -> bytes | None:
  """Draw text alignment and image-only concepts against motion, as PNG.

  Better is up and to the right in every panel. None without such measures.
  """
  known = results.columns
  over = [
    c for c in (ablate_results.STILL, ablate_results.CONCEPTS) if c in known
  ]
  against = [
    c for c in (*ablate_results.MOVING, ablate_results.MOTION) if c in known
  ]
  if not over or not against:
    return None
  figure, panels = _panels(len(over), len(against))
  pairs = [(y, x) for y in over for x in against]
  for panel, (y, x) in zip(panels, pairs, strict=True):
    for number, (series, points) in enumerate(results.series.items()):
      _draw_path(panel, results, x, y, points, series, number)
    panel.set_xlabel(x.title + ('' if x.is_share else ' (reversed)'))
    panel.set_ylabel(y.title)
    if x.better == 'lower':
      panel.invert_xaxis()
  _legend(figure, panels[0], results)
  if absent := missing(results):
    figure.suptitle(f'missing: {", ".join(absent)}', fontsize=9)
  return _png(figure)


def missing(results: Results) -> list[str]:
  """Return the points without a finished unit, by label and curve."""
  return [
    ' '.join(filter(None, (point.label, point.series)))
    for point in results.sweep.points
    if not results.finished(point)
  ]


def _labels(results: Results) -> list[str]:
  return list(dict.fromkeys(point.label for point in results.sweep.points))


def _panels(rows: int, columns: int) -> tuple[Any, list[Any]]:
  # Imported here, because matplotlib belongs to an extra.
  from matplotlib.figure import Figure

  width, height = _PANEL
  figure = Figure(
    figsize=(width * columns, height * rows + 0.4), layout='constrained'
  )
  return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def _draw_curve(
  panel: Any,
  results: Results,
  column: Column,
  points: Sequence[Point],
  labels: Sequence[str],
  series: str,
  number: int,
) -> None:
  """Draw the means of a measure, and what is missing."""
  colour = f'C{number}'
  shift = 0.08 * number
  found = [results.mean(point, column) for point in points]
  places = [labels.index(point.label) + shift for point in points]
  panel.errorbar(
    places,
    [mean.mean for mean in found],
    # A single seed has no error.
    yerr=[0 if math.isnan(mean.error) else mean.error for mean in found],
    color=colour,
    marker='o',
    capsize=3,
    label=series,
  )
  for place, mean, point in zip(places, found, points, strict=True):
    panel.plot([place] * len(mean.values), mean.values, '.', c=_GREY, ms=4)
    count, wanted = results.finished(point), len(point.units)
    note = 'missing' if not count else f'{count} of {wanted}'
    if count < wanted:
      panel.text(
        place,
        0.02,
        note,
        transform=panel.get_xaxis_transform(),
        rotation=90,
        ha='center',
        fontsize=8,
        color=colour,
      )


def _draw_path(
  panel: Any,
  results: Results,
  x: Column,
  y: Column,
  points: Sequence[Point],
  series: str,
  number: int,
) -> None:
  """Draw the points of a curve in the plane of two measures."""
  both = [(results.mean(p, x), results.mean(p, y)) for p in points]
  errors = [
    [0 if math.isnan(mean.error) else mean.error for mean in means]
    for means in zip(*both, strict=True)
  ]
  panel.errorbar(
    [mean.mean for mean, _ in both],
    [mean.mean for _, mean in both],
    xerr=errors[0],
    yerr=errors[1],
    color=f'C{number}',
    marker='o',
    lw=1,
    capsize=2,
    label=series,
  )
  for point, (across, up) in zip(points, both, strict=True):
    if across.values and up.values:
      panel.annotate(
        point.label,
        (across.mean, up.mean),
        xytext=(4, 4 - 12 * number),
        textcoords='offset points',
        fontsize=8,
        color=f'C{number}',
      )


def _legend(figure: Any, panel: Any, results: Results) -> None:
  if any(results.series):
    handles, names = panel.get_legend_handles_labels()
    figure.legend(handles, names, loc='outside lower center', ncols=len(names))


def _png(figure: Any) -> bytes:
  file = io.BytesIO()
  figure.savefig(file, format='png', dpi=110)
  return file.getvalue()


def figures(results: Results) -> Iterator[tuple[str, bytes]]:
  """Yield the name and the PNG of each figure; none without any number."""
  if not results.columns:
    return
  yield 'measures', measures(results)
  drawn = trade_offs(results)
  if drawn is not None:
    yield 'trade_offs', drawn
