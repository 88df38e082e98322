"""A lock that keeps two processes from writing to one directory."""

import contextlib
import fcntl
import functools
import logging
from collections.abc import Iterator

from etils import epath

from phenaki_jax.errors import UserError
from phenaki_jax.files.paths import is_remote, writable

_logger = logging.getLogger(__name__)

LOCK = '.lock'
"""Name of the file in a directory that is, or was, locked."""


@contextlib.contextmanager
def run_lock(
  workdir: epath.PathLike, *, option: str = '--workdir'
) -> Iterator[None]:
  """Lock a directory while the context is open.

  The operating system releases the lock of a killed process. A bucket has no
  locks; for a remote directory this is logged once and nothing is locked.

  Args:
    workdir: the directory, created if necessary.
    option: the option that chooses another directory, for the message.

  Raises:
    UserError: if another run holds the lock.
  """
  workdir = writable(workdir)
  workdir.mkdir(parents=True, exist_ok=True)
  if is_remote(workdir):
    _warn_unlocked(str(workdir))
    yield
    return
  with (workdir / LOCK).open('a') as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise UserError(
        f'Another run is writing to {workdir}. Wait for it, stop it, or give '
        f'another {option}.'
      ) from error
    yield


@functools.cache
def _warn_unlocked(workdir: str) -> None:
  _logger.warning(
    '%s cannot be locked, because it is not on a local disk. Make sure that '
    'no other run writes to it.',
    workdir,
  )
