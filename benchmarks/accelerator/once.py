"""What several comparisons need is computed once."""

import threading
from collections.abc import Callable
from typing import Any


class Once:
  """The result of a function, which several threads want."""

  def __init__(self, compute: Callable[[], Any]) -> None:
    self._compute = compute
    self._lock = threading.Lock()
    self._found: Any = None

  def __call__(self) -> Any:
    """Return the result, computed at the first call."""
    with self._lock:
      if self._found is None:
        self._found = self._compute()
      return self._found
