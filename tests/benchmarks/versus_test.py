"""The comparison with phenaki-pytorch: sizes, protocol and report."""

import json
import math
import pathlib
import subprocess
import sys

import pytest

BENCHMARKS = pathlib.Path(__file__).resolve().parents[2] / 'benchmarks'

# A worker with one case, 'nap', which sleeps.
WORKER = """
import time
from versus import worker
answers = worker.take_output()
print('chatter of a library')
worker.serve({'nap': lambda: time.sleep(0.05)}, {'versions': {}}, answers)
"""


@pytest.fixture(autouse=True)
def _benchmarks_on_path(monkeypatch):
  monkeypatch.syspath_prepend(str(BENCHMARKS))
  before = set(sys.modules)
  yield
  for name in set(sys.modules) - before:
    if name.partition('.')[0] == 'versus':
      del sys.modules[name]


def _call(seconds):
  return {'seconds': seconds, 'cpu_seconds': 2 * seconds}


def _facts(parameters, flops=None):
  return {
    'versions': {'package': '1.0'},
    'parameters': {'tokenizer': parameters},
    'first_call_seconds': {'tokenizer': 20.0},
    'flops': {'tokenizer': flops},
  }


def test_report_compares_best_calls():
  from versus import report

  result = report.summarise(
    {
      'ours': {
        'tokenizer': [_call(2.0), _call(1.0)],
        'matmul': [_call(0.5), _call(0.25)],
      },
      'peer': {'tokenizer': [_call(1.2)], 'matmul': [_call(0.2)]},
    },
    {'ours': _facts(13_000_000), 'peer': _facts(13_100_000, 5)},
    {'tokenizer': 80_000_000_000, 'matmul': 25_000_000_000},
  )
  case = result['cases']['tokenizer']
  assert result['matmul_gflops_per_second']['ours'] == 100.0
  assert case['times_faster'] == pytest.approx(1.2)
  assert case['median_seconds']['ours'] == 1.5
  assert case['gflops_per_second'] == pytest.approx(80.0)
  assert case['share_of_matmul'] == pytest.approx(0.8)
  assert case['share_of_peer_matmul'] == pytest.approx(0.64)
  text = report.table(result)
  assert '13.0M/13.1M' in text
  assert 'Missed: tokenizer is 1.20x as fast, not 1.7x.' in text
  assert 'of a matmul, not' not in text


def test_more_is_asked_of_where_torch_is_slow():
  from versus import report

  fast = report.targets({'ours': 100.0, 'peer': 80.0})
  slow = report.targets({'ours': 100.0, 'peer': 70.0})
  assert fast == report.FASTER == report.targets({'ours': 100.0})
  assert all(slow[name] > fast[name] for name in fast)


def test_report_without_the_peer():
  from versus import report

  result = report.summarise(
    {'ours': {'tokenizer': [_call(1.0)], 'matmul': [_call(0.25)]}},
    {'ours': _facts(13_000_000)},
    {'tokenizer': 10_000_000_000, 'matmul': 25_000_000_000},
  )
  assert 'times_faster' not in result['cases']['tokenizer']
  row = report.table(result).splitlines()[2].split()
  assert row[:5] == ['tokenizer', '13.0M', '1.000', '-', '-']
  assert row[5:] == ['10.0', '10.0', '10%', '-']
  assert 'tokenizer reaches 10% of a matmul, not 75%' in report.table(result)


def test_worker_answers_one_line_per_call():
  done = subprocess.run(
    [sys.executable, '-c', WORKER],
    cwd=BENCHMARKS,
    input='nap\nnap\n',
    capture_output=True,
    text=True,
    check=True,
  )
  ready, *answers = map(json.loads, done.stdout.splitlines())
  assert ready['first_call_seconds']['nap'] >= 0.05
  assert len(answers) == 2
  assert all(0.05 <= answer['seconds'] for answer in answers)
  assert all(answer['cpu_seconds'] < 0.05 for answer in answers)
  assert 'chatter' in done.stderr


def test_side_that_cannot_start_raises():
  from versus.side import Side

  with pytest.raises(ValueError, match='no-such-python does not start'):
    Side('./no-such-python', 'versus.peer', ['2'])
  with pytest.raises(RuntimeError, match='ended with code 1: .*no_such'):
    Side(sys.executable, 'versus.no_such', ['2'])


def test_busy_seconds_exclude_waiting():
  from versus import load

  ticks = load.os.sysconf('SC_CLK_TCK')
  fields = [1, 2, 4, 1000, 2000, 8, 16, 32, 4000, 0]
  line = ' '.join(str(ticks * field) for field in fields)
  assert load.busy_seconds(f'cpu  {line}\ncpu0 7 7 7\n') == 63.0


def test_meter_subtracts_own_seconds():
  from versus import load

  meter = load.Meter()
  meter.wall, meter.busy = 10.0, 18.0
  meter.subtract(16.0)
  assert not load.STAT.exists() or meter.cores == pytest.approx(0.2)


def test_models_have_the_stated_numbers_of_parameters():
  """phenaki-pytorch's models have 13M and 8.6M."""
  import jax
  from versus import ours
  from versus.shapes import Shapes

  shapes = Shapes.from_json(Shapes().to_json())
  assert shapes.tokens == 320
  tokenizer = ours.tokenizer_config(shapes)
  assert tokenizer.codebook_size == shapes.codes
  tasks = {
    13.0e6: ours.TokenizerTask(config=tokenizer),
    8.4e6: ours.TextVectorTask(
      config=ours.generator_config(shapes), text_width=768
    ),
  }
  for claimed, task in tasks.items():
    params = jax.eval_shape(task.init, jax.random.key(0))
    total = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
    assert total == pytest.approx(claimed, rel=0.015)


def test_flops_grow_with_the_sizes():
  from versus import ours
  from versus.shapes import MATMUL, Shapes

  once = ours.count(Shapes())
  twice = ours.count(Shapes(batch=8, steps=36, matmul=4096))
  assert twice['sampling'] == 2 * once['sampling']
  assert twice[MATMUL] == 8 * once[MATMUL]
  for name in ('tokenizer', 'generator'):
    # Position features do not depend on the batch.
    assert twice[name] == pytest.approx(2 * once[name], rel=1e-3)


@pytest.mark.slow
@pytest.mark.unoptimized
def test_worker_of_phenaki_jax_trains_and_samples():
  from versus.shapes import CASES, MATMUL, Shapes
  from versus.side import Side

  shapes = Shapes(
    width=16,
    heads=2,
    mlp_dim=32,
    spatial_layers=1,
    temporal_layers=1,
    generator_layers=1,
    codes=16,
    batch=2,
    frames=3,
    size=16,
    text_length=4,
    text_width=8,
    steps=2,
    matmul=32,
  )
  names = [*CASES, MATMUL]
  side = Side(
    sys.executable, 'versus.ours', [shapes.to_json(), json.dumps(names), '2']
  )
  for name in names:
    assert side.time(name)['seconds'] > 0
  assert side.facts['parameters']['generator'] > 0
  side.close()
