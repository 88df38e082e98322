"""Report a codebook that collapses to a few codes."""

import logging
from collections.abc import Mapping
from typing import Any

from phenaki_jax.training.writers import Writer

_log = logging.getLogger(__name__)

_NAME = 'train/codes/perplexity'
_LEAST = 2.0
_RECORDS = 3


class CollapseAlarm(Writer):
  """Warns once if the perplexity stays below 2 for three records.

  Such a tokenizer describes every patch by one code. At the start of a run few
  codes are normal, so one record alone is no sign of it.
  """

  def __init__(self) -> None:
    """Start without a record."""
    self._low = 0
    self._is_silent = False

  def write(self, step: int, values: Mapping[str, Any]) -> None:
    """Look at the perplexity of a record, if it has one."""
    if _NAME not in values or self._is_silent:
      return
    self._low = self._low + 1 if values[_NAME] < _LEAST else 0
    if self._low < _RECORDS:
      return
    self._is_silent = True
    _log.warning(
      'The codebook has collapsed: at step %d a batch is described by %.1f '
      'codes (codes/perplexity). Use tokenizer.quantizer=fsq, or set '
      'losses.codebook.kmeans=true and losses.codebook.revive_after, or lower '
      'optim.learning_rate.',
      step,
      values[_NAME],
    )
