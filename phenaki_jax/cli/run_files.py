"""The files of a run directory that are written once, and its samples."""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from phenaki_jax.training.animation import encode_gif, encode_png
from phenaki_jax.training.atomic import replace_file


class RunFiles:
  """Keep a run's config and vocabulary; a writer of nothing else.

  They are written when the loop rewinds its writers: it then holds the
  directory alone and knows that what is there belongs to this run.
  """

  def __init__(self, workdir: pathlib.Path, files: Mapping[str, bytes]) -> None:
    """Take the files' contents by name."""
    self._workdir = workdir
    self._files = dict(files)

  def rewind(self, step: int) -> None:
    """Write the files; they are the same at every step."""
    del step
    self._workdir.mkdir(parents=True, exist_ok=True)
    for name, content in self._files.items():
      path = self._workdir / name
      if not path.exists() or path.read_bytes() != content:
        replace_file(path, content)

  def write(self, step: int, values: Mapping[str, Any]) -> None:
    """Keep nothing: results are for the other writers."""

  def close(self) -> None:
    """Do nothing: every file is whole already."""


def save_png(stem: pathlib.Path, pixels: np.ndarray) -> pathlib.Path:
  """Write uint8 [H, W, 3] beside `stem`, as PNG."""
  path = stem.with_name(f'{stem.name}.png')
  replace_file(path, encode_png(pixels))
  return path


def save_gif(fps: float) -> Callable[[pathlib.Path, np.ndarray], pathlib.Path]:
  """Return a function that writes uint8 [T, H, W, 3] as GIF of that speed."""

  def save(stem: pathlib.Path, pixels: np.ndarray) -> pathlib.Path:
    path = stem.with_name(f'{stem.name}.gif')
    replace_file(path, encode_gif(pixels, fps=fps))
    return path

  return save
