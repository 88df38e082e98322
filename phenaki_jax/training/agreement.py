"""Work that all processes do together, and that fails for all or for none."""

from collections.abc import Callable
from typing import Any

from phenaki_jax.training.checkpoint_files import (
  CheckpointError,
  DamagedError,
  first_line,
)
from phenaki_jax.training.checkpoint_sums import exchange


def agreed(work: Callable[[], Any]) -> Any:
  """Do something on every process; raise on all if it fails on one.

  Raises:
    DamagedError: if a file is damaged for one of them.
    CheckpointError: if another process failed.
  """
  result, failure, report = None, None, None
  try:
    result = work()
  except Exception as error:
    # Raised below: the other processes are waiting for the report.
    failure = error
    report = [isinstance(error, DamagedError), first_line(error)]
  reports = exchange(report)
  if failure is not None:
    raise failure
  for process, (is_damaged, text) in (
    (process, found) for process, found in enumerate(reports) if found
  ):
    if is_damaged:
      raise DamagedError(f'{text}.')
    raise CheckpointError(f'Process {process} cannot resume: {text}.')
  return result
