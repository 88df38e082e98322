"""Paths that may lie on a local disk or in a bucket (`gs://`)."""

import os

from etils import epath

from phenaki_jax.errors import UserError


def is_remote(path: epath.PathLike) -> bool:
  """Return whether a path lies in a bucket rather than on a local disk."""
  return '://' in os.fspath(path)


def absolute(path: epath.PathLike) -> epath.Path:
  """Return the absolute form of a path; remote paths already have it."""
  # `epath.Path.resolve` takes a remote path for a relative local one.
  return epath.Path(path if is_remote(path) else os.path.abspath(path))


def checked_path(path: epath.PathLike, suffix: str) -> epath.Path:
  """Return the path of a file of one format.

  Raises:
    UserError: if it has another suffix.
  """
  path = epath.Path(path)
  if path.suffix != suffix:
    raise UserError(f'{path} must end in {suffix}')
  return path
