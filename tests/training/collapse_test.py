"""The alarm is raised once, for a perplexity that stays low."""

import logging

from phenaki_jax.training.collapse import CollapseAlarm


def _warnings(caplog, perplexities):
  caplog.clear()
  alarm = CollapseAlarm()
  with caplog.at_level(logging.WARNING):
    for step, value in enumerate(perplexities, 1):
      alarm.write(10 * step, {'train/codes/perplexity': value})
      alarm.write(10 * step, {'psnr': 3.0})
  return [record.getMessage() for record in caplog.records]


def test_a_collapse_is_reported_once(caplog):
  (message,) = _warnings(caplog, [40.0, 1.5, 1.2, 1.0, 1.0, 1.0, 30.0, 1, 1, 1])
  assert 'at step 40 a batch is described by 1.0 codes' in message


def test_few_codes_for_a_moment_are_no_collapse(caplog):
  assert not _warnings(caplog, [1.0, 1.0, 2.5, 1.0, 1.0, 3.0])
