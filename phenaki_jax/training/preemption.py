"""Turn SIGTERM and Ctrl-C into one flag that everything polls.

A machine that is taken away sends SIGTERM and waits a little. The flag is
looked at between steps and between an evaluator's results; the run then saves
and leaves. A second Ctrl-C does not wait for that.
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

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopFlag:
  """Catch the two signals while the context is open."""

  def __init__(self) -> None:
    """Start with the flag down."""
    self._raised = False
    self._before: Mapping[signal.Signals, Any] = {}

  def __enter__(self) -> 'StopFlag':
    """Take over both signals."""
    self._before = {
      number: signal.signal(number, self._on_signal) for number in _SIGNALS
    }
    return self

  def __exit__(self, *error: object) -> None:
    """Give both signals back."""
    for number, handler in self._before.items():
      signal.signal(number, handler)

  def __bool__(self) -> bool:
    """Tell whether this process was asked to stop."""
    return self._raised

  def agreed(self) -> bool:
    """Tell whether any process was asked to stop; all must ask together."""
    if jax.process_count() == 1:
      return self._raised
    flags = multihost_utils.process_allgather(np.asarray(self._raised))
    return bool(np.any(flags))

  def _on_signal(self, number: int, frame: types.FrameType | None) -> None:
    del frame
    if self._raised and number == signal.SIGINT:
      raise KeyboardInterrupt
    self._raised = True
    _logger.warning('%s: saving, then leaving.', signal.Signals(number).name)
