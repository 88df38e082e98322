"""Refuse folders whose content somebody else could have put there."""

import os
import stat

from etils import epath

from phenaki_jax.errors import UserError
from phenaki_jax.files.paths import is_remote

TRUST = 'PHENAKI_TRUST_CACHE'


def check_private(folder: epath.PathLike, *, name: str) -> None:
  """Raise if another user owns a local folder or may write to it.

  Programs of the compilation cache are executed as they are, so that whoever
  writes to it decides what runs. A folder that does not exist yet passes, and
  so does any if the environment variable PHENAKI_TRUST_CACHE is 1.

  Args:
    folder: a directory.
    name: what it is, for the message.

  Raises:
    UserError: naming the folder and its owner or permissions.
  """
  if is_remote(folder) or os.environ.get(TRUST) == '1':
    return
  try:
    found = os.stat(folder)
  except FileNotFoundError:
    return
  advice = (
    f'Programs in it are run as they are; give a folder of your own, or set '
    f'{TRUST}=1 if you trust everyone who can write to it.'
  )
  if found.st_uid != os.getuid():
    raise UserError(
      f'The {name} {folder} belongs to user {found.st_uid}, and you are user '
      f'{os.getuid()}. {advice}'
    )
  if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
    raise UserError(
      f'The {name} {folder} has the permissions '
      f'{stat.S_IMODE(found.st_mode):o}, so that other users may write to it. '
      f'{advice}'
    )
