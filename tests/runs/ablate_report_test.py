"""A report has all numbers, says what is missing, and needs no other file."""

import base64
import csv
import io
import math
import re

import numpy as np
import pytest
from etils import epath
from PIL import Image

from phenaki_jax.runs import ablate_figures, ablate_report, ablate_results
from phenaki_jax.runs.ablate_html import to_html
from phenaki_jax.runs.ablate_results import STILL, TEXT, collect, mean_of


@pytest.fixture(scope='module')
def reported(load_halves, leave_files, leave_training, tmp_path_factory):
  """Report on three seeds: one point has two of them, the other one none."""
  out = tmp_path_factory.mktemp('out')
  sweep = load_halves(seeds=3)
  none, half = sweep.points
  for unit, right in zip(none.units[:2], (1, 4), strict=True):
    leave_files(unit, out, right=right)
  leave_training(half.units[0].run_dir(out), half.units[0].experiment)
  paths = ablate_report.write_report(sweep, out)
  return sweep, out, paths


def test_means_and_errors_are_those_of_numpy():
  values = [0.2, 0.5, 0.9, 0.4]
  found = mean_of(values)
  assert found.mean == pytest.approx(np.mean(values))
  assert found.error == pytest.approx(np.std(values, ddof=1) / 2)
  assert math.isnan(mean_of([0.3]).error) and mean_of([0.3]).mean == 0.3
  assert math.isnan(mean_of([]).mean)


def test_numbers_of_the_units_are_collected(reported):
  sweep, out, _ = reported
  results = collect(sweep, out)
  none, half = sweep.points
  assert [row.state for row in results.of(none)] == [
    *('finished', 'finished', 'new')
  ]
  assert [row.state for row in results.of(half)] == ['trained', 'new', 'new']
  # One and four of the four colours are right, and three motions each.
  assert results.mean(none, STILL).values == (0.25, 1.0)
  assert results.mean(none, TEXT).values == (0.5, 0.875)
  numbers = results.of(none)[0].numbers
  assert numbers['frechet.distances.frames'] == 2.0
  # A unit of clips alone has no other loss.
  assert numbers['heldout/loss_clips'] == 1.5
  titles = [column.title for column in results.columns]
  assert 'motion' in titles and 'action' not in titles


def test_the_csv_has_a_line_for_each_unit(reported):
  _, out, _ = reported
  rows = list(csv.DictReader(io.StringIO((out / 'units.csv').read_text())))
  assert [(row['label'], row['seed']) for row in rows] == [
    (label, seed) for label in ('none', 'half') for seed in '012'
  ]
  first = rows[0]
  assert first['state'] == 'finished' and rows[2]['state'] == 'new'
  assert float(first['clips.total.accuracy']) == 0.5
  assert rows[2]['clips.total.accuracy'] == ''
  assert (first['examples'], first['tokens']) == ('24', str(6 * 12 * 4))
  asked, examples, tokens = (
    float(rows[3][name])
    for name in ('images asked', 'of examples', 'of tokens')
  )
  assert (asked, examples, tokens) == (0.5, 0.5, 2 / 8)


def test_the_table_says_what_is_missing(reported):
  _, out, _ = reported
  text = (out / 'report.md').read_text()
  none, half = (
    next(line for line in text.splitlines() if line.startswith(f'| {label} '))
    for label in ('none', 'half')
  )
  assert '2 of 6 units are finished' in text
  assert '| 2 of 3 |' in none and '| 0 of 3 |' in half
  # Of 0.25 and 1: the mean, and half of their difference.
  assert '| 0.625 ± 0.375 |' in none
  assert none.count('missing') == 0 and half.count('missing') == 6
  for name in re.findall(r'!\[.*?\]\((.*?)\)', text):
    assert (out / name).is_file()


def _embedded(page):
  for data in re.findall(r'src="data:image/png;base64,([^"]+)"', page):
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
      yield np.asarray(picture.convert('RGB'))


def test_the_page_holds_every_picture(reported):
  _, out, paths = reported
  page = (out / 'report.html').read_text()
  sources = re.findall(r'(?:src|href)\s*=\s*"([^"]*)"', page)
  assert all(source.startswith('data:') for source in sources)
  assert '<script' not in page and '<link' not in page
  pictures = list(_embedded(page))
  figures = [path for path in paths if path.suffix == '.png']
  assert [path.name for path in figures] == ['measures.png', 'trade_offs.png']
  for path, picture in zip(figures, pictures, strict=False):
    with Image.open(path) as drawn:
      np.testing.assert_array_equal(np.asarray(drawn.convert('RGB')), picture)
    assert picture.min() < 100 and picture.shape[0] > 300
  # The sheet of the first unit; that of the other one is missing.
  assert len(pictures) == len(figures) + 1
  assert (pictures[-1] == 40).all()
  assert page.count('class="absent"') == 1
  assert page.count('<td class=missing>missing</td>') == 6


def test_the_sheet_is_of_the_first_seed_that_has_one(
  load_halves, leave_files, tmp_path
):
  sweep, out = load_halves(seeds=3), epath.Path(tmp_path)
  _, *later = sweep.points[0].units
  for right, unit in enumerate(later, 1):
    leave_files(unit, out, right=right)
  page = to_html(collect(sweep, out), out, tables={}, figures={})
  (sheet,) = _embedded(page)
  assert (sheet == 40).all()
  assert '<figcaption>none, trained with seed 1</figcaption>' in page
  assert '<figcaption>half</figcaption>' in page


def test_figures_name_the_points_that_are_missing(reported):
  sweep, out, _ = reported
  assert ablate_figures.missing(collect(sweep, out)) == ['half']


def test_a_report_of_nothing_is_written(load_halves, tmp_path):
  paths = ablate_report.write_report(load_halves(seeds=1), tmp_path)
  assert [path.name for path in paths] == [
    *('units.csv', 'report.md', 'report.html')
  ]
  assert '0 of 2 units are finished' in (tmp_path / 'report.md').read_text()


def test_text_of_a_sweep_is_escaped(
  load_halves, sweep_file, leave_files, tmp_path
):
  path = tmp_path / 'angle.py'
  text = sweep_file.read_text().replace("'none'", "'<b>none'")
  path.write_text(text)
  from phenaki_jax.runs.ablate_sweep import load_sweep

  tokenizer = f'tokenizer_dir={sweep_file.parent / "tokenizer"}'
  sweep = load_sweep(str(path), seeds=1, overrides=[tokenizer])
  leave_files(sweep.units[0], tmp_path)
  results = ablate_results.collect(sweep, tmp_path)
  page = to_html(
    results,
    epath.Path(tmp_path),
    tables=ablate_report.summary(results),
    figures={},
  )
  assert '<b>none' not in page and '&lt;b&gt;none' in page


def test_the_listing_shows_what_units_take(reported):
  sweep, out, _ = reported
  lines = ablate_report.listing(sweep, out).splitlines()
  assert len(lines) == 2 + 6
  cells = [cell.strip() for cell in lines[3].strip('|').split('|')]
  assert cells[:5] == ['half', '', '0', '6', '24']
  assert cells[5:10] == ['192', '0.500', '0.500', '0.250', 'trained']
