"""Evaluate the checkpoints of a run while it trains, in another process."""

import logging
import os
import time
from collections.abc import Callable

from etils import epath

from phenaki_jax.errors import UserError
from phenaki_jax.runs import experiment as experiment_lib
from phenaki_jax.training import checkpoint_files

_LOG = logging.getLogger(__name__)


def follow(
  workdir: str | os.PathLike[str],
  measure: Callable[[int], object],
  *,
  seconds: float | int,
  wait: Callable[[float], object] = time.sleep,
) -> int:
  """Call `measure` with the step of each new checkpoint, until the last one.

  It looks for checkpoints every few seconds, takes the newest, and skips those
  that came in between. A checkpoint that the run deletes meanwhile is left out.

  Args:
    workdir: the run directory; it may have no checkpoint yet.
    measure: measures the newest checkpoint.
    seconds: between two looks.
    wait: sleeps for a number of seconds.

  Returns:
    The number of checkpoints that were measured.

  Raises:
    UserError: `workdir` is no run, or its last checkpoint cannot be measured.
  """
  folder = epath.Path(workdir).expanduser()
  try:
    last = experiment_lib.read(folder).train.steps
  except UserError as error:
    raise UserError(
      f'{folder} is no run directory ({error}); --follow takes the --workdir '
      'of a run that trains'
    ) from error
  seen, count = -1, 0
  while True:
    found = checkpoint_files.finished(folder / checkpoint_files.FOLDER)
    newest = max(found, default=-1)
    if newest > seen:
      seen = newest
      try:
        measure(newest)
        count += 1
      except UserError as error:
        if newest >= last:
          raise
        _LOG.warning('Step %d is left out: %s', newest, error)
    if seen >= last:
      return count
    wait(seconds)
