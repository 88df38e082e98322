"""Batches are skipped, a lost state is restored, and neither without end."""

import math

import pytest

from phenaki_jax.training.metrics import Mean
from phenaki_jax.training.recovery import MAX_SKIPPED, Recovery, StateLost

GOOD = {
  'gradient_norm': 1.0,
  'update_norm': 0.1,
  'parameter_norm': 9.0,
  'average_norm': 9.0,
  'loss': 0.5,
}


def _metrics(**bad):
  values = {**GOOD, **bad}
  broken = not all(map(math.isfinite, values.values()))
  found = {name: Mean(sum=x, count=1.0) for name, x in values.items()}
  return {**found, 'nonfinite': Mean(sum=float(broken), count=1.0)}


def test_a_finite_step_is_added():
  window = Recovery().take(2, _metrics(), _metrics(loss=1.5))
  assert window['loss'] == Mean(sum=2.0, count=2.0)


@pytest.mark.parametrize(
  'bad',
  [
    {'loss': math.nan},
    {'gradient_norm': math.inf, 'update_norm': math.nan},
    {'gradient_norm': math.nan, 'loss': -math.inf},
  ],
)
def test_a_batch_is_skipped_and_counted(bad):
  window = Recovery().take(2, _metrics(**bad), _metrics())
  assert window['nonfinite'] == Mean(sum=1.0, count=2.0)
  assert window['loss'] == Mean(sum=0.5, count=1.0)


@pytest.mark.parametrize(
  'bad',
  [
    {'parameter_norm': math.nan, 'loss': math.nan},
    {'average_norm': math.inf},
    # The gradient is finite: the moments of the optimizer are not.
    {'update_norm': math.nan},
  ],
)
def test_a_lost_state_is_reported_once(bad):
  recovery = Recovery()
  with pytest.raises(StateLost):
    recovery.take(7, _metrics(**bad), {})
  recovery.take(5, _metrics(), {})
  with pytest.raises(FloatingPointError, match='Step 7'):
    recovery.take(7, _metrics(**bad), {})


def test_a_state_that_is_lost_later_is_reported_again():
  recovery = Recovery()
  for step in (7, 9):
    with pytest.raises(StateLost):
      recovery.take(step, _metrics(parameter_norm=math.nan), {})


def test_only_so_many_steps_in_a_row_are_skipped():
  recovery, bad = Recovery(), _metrics(loss=math.nan)
  for step in range(1, MAX_SKIPPED + 1):
    recovery.take(step, bad, {})
  recovery.take(MAX_SKIPPED + 1, _metrics(), {})
  for step in range(MAX_SKIPPED):
    recovery.take(20 + step, bad, {})
  with pytest.raises(FloatingPointError, match='Step 99'):
    recovery.take(99, bad, {})
