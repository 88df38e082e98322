"""What each process says of its part of a checkpoint, gathered by process 0.

They are files, because a message between devices would have to be sent at the
same step by all processes, and each process finishes at a time of its own.
They lie outside the checkpoint, whose files process 0 may be listing meanwhile.
"""

import json
import time
from typing import Any

import jax
from etils import epath

from phenaki_jax.files.atomic import replace_file
from phenaki_jax.training.checkpoint_files import CheckpointError

_FOLDER = '.parts'

# Seconds that process 0 waits for the parts of the others.
PATIENCE = 600.0
# The same after an exception, for which the others may be waiting themselves.
SHORT_PATIENCE = 30.0


def missing(folder: epath.Path) -> list[int]:
  """Return the processes whose parts process 0 does not have yet."""
  if jax.process_index():
    return []
  others = range(1, jax.process_count())
  return [process for process in others if not _path(folder, process).exists()]


def gather(
  folder: epath.Path, own: Any, *, patience: float = PATIENCE
) -> list[Any]:
  """Hand over the part of this process; return those of all on process 0.

  Args:
    folder: the checkpoint.
    own: a JSON value.
    patience: seconds to wait for the other processes.

  Raises:
    CheckpointError: naming the processes whose parts do not come in time.
  """
  if jax.process_index():
    replace_file(_path(folder, jax.process_index()), json.dumps(own).encode())
    return []
  end = time.monotonic() + patience
  while late := missing(folder):
    if time.monotonic() > end:
      raise CheckpointError(
        f'Checkpoint {folder.name} is not finished: process '
        f'{", ".join(map(str, late))} did not save its part within '
        f'{patience:g} seconds. See its log, and start the same command again.'
      )
    time.sleep(0.02)
  others = range(1, jax.process_count())
  read = [json.loads(_path(folder, k).read_bytes()) for k in others]
  return [own, *read]


def delete(folder: epath.Path) -> None:
  """Delete the files, once the manifest holds what they say."""
  for process in range(1, jax.process_count()):
    _path(folder, process).unlink()


def forget(checkpoints: epath.Path) -> None:
  """Delete what an unfinished save left, so that nobody takes it for new.

  Args:
    checkpoints: the folder of all checkpoints, to which nobody saves now.
  """
  checkpoints.with_name(_FOLDER).rmtree(missing_ok=True)


def _path(folder: epath.Path, process: int) -> epath.Path:
  parts = folder.parent.with_name(_FOLDER)
  return parts / f'{folder.name}-{process}.json'
