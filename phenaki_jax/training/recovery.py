"""What a run does about a step that is not finite.

Such a step changes nothing (see `training.step`). If its batch is to blame, it
is skipped, counted and logged. If the state itself is no longer finite, which
no batch can cause, the run goes back to the last checkpoint and repeats the
steps since then. A run that does not get past it stops.
"""

import logging
from collections.abc import Mapping

import numpy as np

from phenaki_jax.training.metrics import Mean, merge
from phenaki_jax.training.step import check_finite

_logger = logging.getLogger(__name__)

# Steps in a row that may be skipped: more are not the fault of their batches.
MAX_SKIPPED = 10

# Norms of the state before the step.
_STATE = ('parameter_norm', 'average_norm')


class StateLost(Exception):
  """Report that the state is not finite, and must be restored."""


class Recovery:
  """Checks the metrics of each step, in order."""

  def __init__(self) -> None:
    """Begin with no step skipped and none repeated."""
    self._skipped = 0
    self._lost_at = 0

  def take(
    self, step: int, metrics: Mapping[str, Mean], window: Mapping[str, Mean]
  ) -> dict[str, Mean]:
    """Add the metrics of a step to those of the steps before it.

    Of a step that was not applied, only 'nonfinite' is added.

    Args:
      step: the number of that step, starting at 1.
      metrics: its metrics, on the host.
      window: of the steps since the metrics were last logged.

    Raises:
      StateLost: if the parameters, their average or the state of the optimizer
        are not finite.
      FloatingPointError: if too many steps in a row are not finite, or the
        state is lost a second time at the same step.
    """
    if not metrics['nonfinite'].sum:
      self._skipped = 0
      return merge(window, metrics)
    broken = sorted(
      k for k, mean in metrics.items() if not np.isfinite(mean.sum)
    )
    is_update = all(name.startswith('update_norm') for name in broken)
    if is_update or any(name in _STATE for name in broken):
      if step <= self._lost_at:
        check_finite(step, metrics)
      self._lost_at = step
      _logger.warning(
        'The state is not finite before step %d (%s). Going back to the last '
        'checkpoint.',
        step,
        ', '.join(broken),
      )
      raise StateLost
    self._skipped += 1
    if self._skipped > MAX_SKIPPED:
      check_finite(step, metrics)
    _logger.warning(
      'Step %d is not finite (%s). It is skipped.', step, ', '.join(broken)
    )
    return merge(window, {'nonfinite': metrics['nonfinite']})
