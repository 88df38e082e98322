"""What each process says of its part of a checkpoint, gathered by process 0.

They are files, because a message between devices would have to be sent at the
same step by all processes, and each process finishes at a time of its own.
"""

import json
import time
from typing import Any

import jax
from etils import epath

from phenaki_jax.files.atomic import replace_file
from phenaki_jax.training.checkpoint_files import PART, CheckpointError

# Seconds that process 0 waits for the parts of the others.
PATIENCE = 600.0


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


def _path(folder: epath.Path, process: int) -> epath.Path:
  return folder / f'{PART}{process}.json'
