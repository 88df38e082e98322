"""A flag that SIGTERM, SIGHUP and Ctrl-C set, so that a run can save and exit.

A preempted machine gets SIGTERM and some seconds, and the processes of a closed
terminal get SIGHUP, unless `nohup` makes them ignore it. The training loop
reads the flag between steps and between an evaluator's results, saves and
exits. A second Ctrl-C exits at once.
"""

import logging
import signal
import types
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

_logger = logging.getLogger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class StopFlag:
  """Catches the signals while the context is open; true once one arrived."""

  def __init__(self) -> None:
    """Start with the flag unset."""
    self._raised = False
    self._before: Mapping[signal.Signals, Any] = {}

  def __enter__(self) -> 'StopFlag':
    """Install the handlers."""
    self._before = {
      number: signal.signal(number, self._on_signal)
      for number in _SIGNALS
      if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
    }
    return self

  def __exit__(self, *error: object) -> None:
    """Restore the previous handlers."""
    for number, handler in self._before.items():
      signal.signal(number, handler)

  def __bool__(self) -> bool:
    """Return whether this process was asked to stop."""
    return self._raised

  def agreed(self) -> bool:
    """Return whether any process was asked to stop.

    Every process must call this at the same time.
    """
    if jax.process_count() == 1:
      return self._raised
    flags = multihost_utils.process_allgather(np.asarray(self._raised))
    return bool(np.any(flags))

  def _on_signal(self, number: int, frame: types.FrameType | None) -> None:
    del frame
    if self._raised and number == signal.SIGINT:
      raise KeyboardInterrupt
    self._raised = True
    _logger.warning('%s: saving, then exiting.', signal.Signals(number).name)
