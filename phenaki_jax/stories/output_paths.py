"""The paths of the files of a story."""

import os
import pathlib
from collections.abc import Iterable

from phenaki_jax.files.paths import film_paths

_SUFFIXES = ('.mp4', '.gif', '.png', '.json')


def output_paths(
  out: str | os.PathLike[str], *, inputs: Iterable[str | os.PathLike[str]] = ()
) -> list[pathlib.Path]:
  """Return the files of a story: film, GIF, contact sheet, provenance.

  Args:
    out: the film.
    inputs: files that are read, and must not be replaced.

  Raises:
    UserError: see `film_paths`; or the scenes cannot be written.
  """
  paths = film_paths(out, _SUFFIXES, inputs=inputs)
  # Scenes are kept in a folder beside the film.
  film_paths(paths[0].with_suffix('.scenes') / paths[0].name, ('.mp4',))
  return paths
