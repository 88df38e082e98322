"""The report of a sweep as one HTML file that needs no other file."""

import base64
import html
from collections.abc import Mapping, Sequence

from etils import epath

from phenaki_jax.runs.ablate_results import Results

_SHEETS = {
  'clips': 'Clips of held-out prompts. The last rows, called random, have the '
  'same prompts and seeds in all units.',
  'image_only': 'Concepts that training shows in images only; the same prompts '
  'and seeds in all units.',
}
_STYLE = """
body { font: 15px/1.45 sans-serif; margin: 2em auto; max-width: 1400px;
  padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: 1em 0; font-size: 13px }
td, th { border: 1px solid #ccc; padding: 4px 8px; text-align: right }
td:first-child, th:first-child { text-align: left }
td.missing { color: #b00 }
.scroll { overflow-x: auto }
.sheets { display: flex; gap: 16px; overflow-x: auto; align-items: flex-start }
.sheets figure { margin: 0; flex: 0 0 460px }
.sheets img, .plot { max-width: 100% }
.absent { border: 2px dashed #b00; color: #b00; padding: 4em 1em;
  text-align: center }
"""


def to_html(
  results: Results,
  out: epath.Path,
  *,
  tables: Mapping[str, Sequence[Sequence[str]]],
  figures: Mapping[str, bytes],
) -> str:
  """Return the page.

  Args:
    results: of the sweep.
    out: folder of the sweep, with the contact sheets of its units.
    tables: rows of each curve, the head first.
    figures: PNG by name.
  """
  sweep = results.sweep
  name = html.escape(sweep.name)
  rows = results.rows.values()
  finished = sum(row.state == 'finished' for row in rows)
  parts = [
    f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{name}'
    f'</title><style>{_STYLE}</style>',
    f'<h1>{name}</h1><p><code>{html.escape(sweep.spec)}</code>: {finished} of '
    f'{len(rows)} units are finished. Curves of the trainings: <code>'
    'tensorboard --logdir units</code> in this folder. All clips are '
    'AI-generated.</p>',
  ]
  for series, table in tables.items():
    parts.append(f'<h2>{html.escape(series or "Means over seeds")}</h2>')
    parts.append(_table(table))
  for title, content in figures.items():
    words = html.escape(title.replace('_', ' ').capitalize())
    parts.append(f'<h2>{words}</h2>{_image(content, words, "plot")}')
  for sheet, words in _SHEETS.items():
    cells = _sheets(results, out, sheet)
    if cells:
      parts.append(f'<h2>{html.escape(words)}</h2>')
      parts.append(f'<div class="sheets">{cells}</div>')
  return '\n'.join([*parts, '</html>', ''])


def _table(table: Sequence[Sequence[str]]) -> str:
  head, *rows = table
  lines = [''.join(f'<th>{html.escape(cell)}</th>' for cell in head)]
  for row in rows:
    cells = [
      f'<td{" class=missing" * (cell == "missing")}>{html.escape(cell)}</td>'
      for cell in row
    ]
    lines.append(''.join(cells))
  body = ''.join(f'<tr>{line}</tr>' for line in lines)
  return f'<div class="scroll"><table>{body}</table></div>'


def _image(content: bytes, words: str, style: str = '') -> str:
  data = base64.b64encode(content).decode()
  return (
    f'<img class="{style}" alt="{words}" src="data:image/png;base64,{data}">'
  )


def _sheets(results: Results, out: epath.Path, sheet: str) -> str:
  """Return the first sheet of each point's units; empty if none has any."""
  cells, found = [], 0
  shown: set[str] = set()
  for point in results.sweep.points:
    name = point.units[0].name
    if name in shown:  # a point of several curves
      continue
    shown.add(name)
    words = ', '.join(filter(None, (point.label, point.series)))
    words = html.escape(words)
    picture = '<div class="absent">missing</div>'
    for unit in point.units:
      path = unit.scores_dir(out) / f'{sheet}.png'
      if path.is_file():
        found += 1
        words += f', trained with seed {unit.seed}'
        picture = _image(path.read_bytes(), words)
        break
    cells.append(f'<figure><figcaption>{words}</figcaption>{picture}</figure>')
  return ''.join(cells) if found else ''
