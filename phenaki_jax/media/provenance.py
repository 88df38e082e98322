"""How a file was made, as JSON in the comment of its format."""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import av
from PIL import Image

from phenaki_jax.errors import UserError

NOTICE = 'AI-generated'
COMMENT = 'comment'
"""The name of the entry, the same in MP4, GIF and PNG."""


def provenance_json(provenance: Mapping[str, Any]) -> str:
  """Return the comment of a file, in ASCII.

  A `notice` in the provenance replaces 'AI-generated', for files that show
  recorded or rendered frames.

  Raises:
    UserError: if a value cannot be written as JSON.
  """
  try:
    return json.dumps({'notice': NOTICE, **provenance}, allow_nan=False)
  except (TypeError, ValueError) as error:
    raise UserError(
      f'the provenance cannot be written as JSON: {error}'
    ) from error


def read_provenance(path: str | os.PathLike[str]) -> dict[str, Any]:
  """Return the provenance of an MP4, GIF or PNG that `media` wrote.

  Raises:
    UserError: if the file has none, or has another format.
  """
  path = pathlib.Path(path)
  try:
    if path.suffix == '.mp4':
      with av.open(str(path)) as container:
        comment: Any = container.metadata.get(COMMENT)
    else:
      with Image.open(path) as picture:
        comment = picture.info.get(COMMENT)
    content = json.loads(comment or 'null')
  except (av.error.FFmpegError, OSError, ValueError) as error:
    raise UserError(f'cannot read the provenance of {path}: {error}') from error
  if not isinstance(content, dict):
    raise UserError(f'{path} has no provenance')
  return content
