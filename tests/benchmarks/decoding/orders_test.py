"""The rows, the table and the figure of the comparison of orders."""

import importlib.util
import json
import pathlib
import typing

import pytest
from PIL import Image

from phenaki_jax.sampling.config import Order

SCRIPT = pathlib.Path(__file__).parents[3] / 'benchmarks/decoding/orders.py'


@pytest.fixture(scope='module')
def orders():
  spec = importlib.util.spec_from_file_location('benchmarks_orders', SCRIPT)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def test_one_setting_varies_at_a_time(orders):
  assert set(orders.ORDERS) == set(typing.get_args(Order))
  rows = orders.grid()
  each = len(orders.GUIDANCE) + len(orders.STEPS) - 1
  assert len(rows) == len(orders.ORDERS) * each
  assert len({tuple(row.values()) for row in rows}) == len(rows)
  for row in rows:
    fixed = [row[name] == value for name, value in orders.FIXED.items()]
    assert any(fixed)


def test_table_and_figure_show_every_row(orders, tmp_path):
  rows = [
    orders.Row(
      model='a',
      right=0.5 + i / 100,
      error=0.01,
      seconds=0.25,
      prompts=1,
      **values,
    )
    for i, values in enumerate(orders.grid())
  ]
  table = orders.to_markdown(rows).splitlines()
  assert len(table) == 2 + len(rows)
  number = len(orders.ORDERS) - 1
  assert (
    f'| critic | 1 | 2 | {0.5 + number / 100:.3f} | 0.010 | 0.25 |' in table
  )
  orders.draw(rows, tmp_path / 'figure.png')
  with Image.open(tmp_path / 'figure.png') as picture:
    assert picture.width > 800


@pytest.mark.slow
def test_the_sprite_world_is_measured_without_a_critic(
  orders, tmp_path, monkeypatch
):
  monkeypatch.setattr(orders, 'GUIDANCE', (1.0,))
  monkeypatch.setattr(orders, 'STEPS', (2,))
  # A number of another model is not taken for this one's.
  values = {'order': 'random', 'guidance': 1.0, 'steps': 2, 'prompts': 1}
  other = {**values, 'model': 'a', 'right': 7.0, 'error': 0.0, 'seconds': 0.0}
  (tmp_path / 'work').mkdir()
  (tmp_path / 'work' / 'rows.jsonl').write_text(json.dumps(other) + '\n')
  words = ('--model', 'lpc', '--prompts', '1', '--out', str(tmp_path))
  orders.main([*words, '--workdir', str(tmp_path / 'work')])
  table = (tmp_path / 'orders_lpc.md').read_text().splitlines()
  assert [line.split(' | ')[0] for line in table[2:]] == [
    f'| {order}' for order in orders.ORDERS if order != 'critic'
  ]
  assert '7.000' not in ''.join(table)
  assert (tmp_path / 'orders_lpc.png').stat().st_size
