"""A finished film, to save, to show in a notebook or to use as an array."""

import base64
import dataclasses
import importlib
import math
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath
from jaxtyping import UInt8

from phenaki_jax.errors import UserError
from phenaki_jax.media.contact_sheet import contact_sheet
from phenaki_jax.media.credentials import Certificate
from phenaki_jax.media.gif import MAX_FPS, encode_gif, write_gif
from phenaki_jax.media.mp4 import write_mp4
from phenaki_jax.media.png import write_png
from phenaki_jax.media.provenance import NOTICE
from phenaki_jax.types import VideoU8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Film:
  """The frames of a generated story.

  Attributes:
    frames: uint8 RGB [T, H, W, 3].
    fps: frames per second.
    scenes: the prompt and the number of frames of each scene, in order.
    provenance: JSON values that describe how the film was made.
  """

  frames: VideoU8 = dataclasses.field(repr=False)
  fps: float
  scenes: tuple[tuple[str, int], ...]
  provenance: Mapping[str, Any] = dataclasses.field(repr=False)

  def __post_init__(self) -> None:
    """Check that the scenes cover the frames."""
    total = sum(count for _, count in self.scenes)
    if total != len(self.frames):
      raise ValueError(
        f'the scenes have {total} frames, but the film has {len(self.frames)}'
      )

  def save(
    self,
    path: epath.PathLike,
    *,
    marked: bool = False,
    certificate: Certificate | None = None,
  ) -> epath.Path:
    """Write the film to a file, in the format that the suffix names.

    Args:
      path: ends in `.mp4`, `.gif`, or `.png` for a contact sheet of the
        scenes. A GIF of more than 50 frames per second leaves out frames.
      marked: whether an MP4 has the invisible mark; see `media.mark`.
      certificate: from `media.credentials.read_certificate`; signs the file.

    Returns:
      The path.

    Raises:
      UserError: for another suffix, an MP4 in a bucket, and a mark of another
        file than an MP4.
    """
    path = epath.Path(path)
    if marked and path.suffix in ('.gif', '.png'):
      raise UserError(
        f'{path.name} cannot be marked, only an MP4 can; leave out marked, or '
        'save the film as .mp4'
      )
    origin: dict[str, Any] = {
      'provenance': self.provenance,
      'certificate': certificate,
    }
    match path.suffix:
      case '.mp4':
        write_mp4(path, self.frames, fps=self.fps, marked=marked, **origin)
      case '.gif':
        frames, fps = self._slowed()
        write_gif(path, frames, fps=fps, **origin)
      case '.png':
        write_png(path, self._sheet(), **origin)
      case _:
        raise UserError(
          f'a film cannot be saved as {path.name}; the name must end in .mp4, '
          '.gif, or .png for a contact sheet'
        )
    return path

  def show(self) -> None:
    """Display the film in a notebook.

    Raises:
      UserError: if there is no notebook.
    """
    ipython = sys.modules.get('IPython')
    if ipython is None or ipython.get_ipython() is None:
      raise UserError(
        "a film is shown only in a notebook; use film.save('film.mp4') and "
        'open the file'
      )
    importlib.import_module('IPython.display').display(self)

  def _repr_html_(self) -> str:
    """Return the film as an embedded GIF; notebooks call this."""
    frames, fps = self._slowed()
    gif = encode_gif(
      frames, fps=fps, provenance=self.provenance, min_height=256
    )
    return (
      '<img alt="film" src="data:image/gif;base64,'
      f'{base64.b64encode(gif).decode()}">'
    )

  def _slowed(self) -> tuple[UInt8[np.ndarray, 'frames H W 3'], float]:
    """Return the frames and the frame rate of a GIF."""
    stride = math.ceil(self.fps / MAX_FPS)
    return self.frames[::stride], self.fps / stride

  def _sheet(self) -> np.ndarray:
    ends = np.cumsum([count for _, count in self.scenes])
    parts = np.split(self.frames, ends[:-1])
    rows = [
      (f'{number}. {prompt}', part)
      for number, ((prompt, _), part) in enumerate(
        zip(self.scenes, parts, strict=True), start=1
      )
    ]
    return contact_sheet(rows, footer=NOTICE)
