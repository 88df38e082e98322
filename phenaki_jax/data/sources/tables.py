"""Tables and archives of sources that cannot be read to their end."""

from phenaki_jax.errors import UserError
from phenaki_jax.files.paths import DataPath, is_remote

_CANNOT_OPEN = (FileNotFoundError, IsADirectoryError, PermissionError)


def check_cannot_open(path: DataPath, error: OSError, *, rows: int = 0) -> None:
  """Check that an error is that of a local file that cannot be opened.

  Any other failure says nothing about the rows that follow, which would be lost
  if the file counted as a broken one.

  Args:
    path: of the file.
    error: of opening or reading it.
    rows: that were read before.

  Raises:
    UserError: if it is another failure.
  """
  if rows or is_remote(path) or not isinstance(error, _CANNOT_OPEN):
    place = f' after row {rows:,}' if rows else ''
    raise UserError(
      f'{path} cannot be read{place} ({error}); run the same command again '
      'when the disk or the network works, or replace the file'
    ) from error
