"""Rates leave out the first step, which compiles."""

import time

from phenaki_jax.training.speed import Speed

BATCH = {'clips': 6, 'images': 2}


def test_rates_are_of_the_steps_after_the_first():
  speed = Speed()
  assert speed.take() == {}
  speed.count(BATCH)
  assert speed.take() == {}
  for _ in range(3):
    with speed.waiting():
      time.sleep(0.01)
    speed.count(BATCH)
  values = speed.take()
  assert 0 < values['steps_per_second'] < 100
  # Parts of a batch are counted apart, each by its own number.
  ratio = values['clips_per_second'] / values['steps_per_second']
  assert abs(ratio - 6) < 1e-6
  assert (
    abs(values['images_per_second'] * 3 - values['clips_per_second']) < 1e-6
  )
  assert 0.3 < values['data_wait'] <= 1


def test_time_before_a_restart_is_not_counted():
  speed = Speed()
  for _ in range(2):
    speed.count(BATCH)
  speed.restart()
  assert speed.take() == {}
