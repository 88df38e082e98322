"""Keep two runs from writing to one directory."""

import contextlib
import fcntl
import pathlib
from collections.abc import Iterator

from phenaki_jax.errors import UserError


@contextlib.contextmanager
def run_lock(workdir: pathlib.Path) -> Iterator[None]:
  """Hold the directory while the context is open; a killed run lets it go.

  Raises:
    UserError: if another run holds it.
  """
  workdir.mkdir(parents=True, exist_ok=True)
  with (workdir / '.lock').open('a') as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise UserError(
        f'Another run is writing to {workdir}. Wait for it, stop it, or give '
        'another --workdir.'
      ) from error
    yield
