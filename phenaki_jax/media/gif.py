"""Films as animated GIFs that repeat indefinitely."""

import io
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from etils import epath
from PIL import Image

from phenaki_jax.errors import UserError
from phenaki_jax.files.paths import checked_path
from phenaki_jax.media.credentials import Certificate, signed_file
from phenaki_jax.media.frames import checked_fps, checked_frame, spread
from phenaki_jax.media.label import film_frame
from phenaki_jax.media.provenance import COMMENT, provenance_json

MAX_FPS = 50
"""Browsers slow down a GIF with more frames per second."""

_PALETTE_FRAMES = 16


def encode_gif(
  frames: Iterable[np.ndarray],
  *,
  fps: float | int,
  provenance: Mapping[str, Any] | None = None,
  min_height: int = 1,
  labelled: bool = True,
) -> bytes:
  """Encode frames, uint8 RGB [H, W, 3] each, as a GIF.

  All frames share one palette of 256 colours, so that still colours do not
  flicker. Delays are whole hundredths of a second; they vary so that the
  duration of the whole film is right. Generated frames are labelled as such;
  see `label.film_frame`.

  Args:
    frames: one or more, of one size.
    fps: frames per second, above 0 and at most 50.
    provenance: JSON values that describe how the film was made; None writes
      no comment and no label.
    min_height: small frames are enlarged to this height; see `enlarge`.
    labelled: False writes generated frames without the label.

  Raises:
    UserError: for a value out of these ranges.
  """
  if checked_fps(fps) > MAX_FPS:
    raise UserError(
      f'fps is {fps}, but viewers slow down a GIF of more than {MAX_FPS}: '
      'write an MP4, or leave out frames'
    )
  arrays = [checked_frame(frame) for frame in frames]
  if not arrays:
    raise UserError('there are no frames to write')
  if len({array.shape for array in arrays}) > 1:
    raise UserError('all frames of a film must be of one size')

  def shown(array: np.ndarray) -> np.ndarray:
    return film_frame(
      array, provenance, min_height=min_height, labelled=labelled
    )

  chosen = [shown(arrays[i]) for i in spread(len(arrays), _PALETTE_FRAMES)]
  palette = Image.fromarray(np.concatenate(chosen)).quantize(
    256, dither=Image.Dither.NONE
  )
  first, *rest = [
    Image.fromarray(shown(array)).quantize(
      palette=palette, dither=Image.Dither.NONE
    )
    for array in arrays
  ]
  ends = [round(i * 100 / fps) for i in range(len(arrays) + 1)]
  comment = {}
  if provenance is not None:
    comment[COMMENT] = provenance_json(provenance).encode()
  file = io.BytesIO()
  first.save(
    file,
    format='GIF',
    save_all=True,
    append_images=rest,
    duration=[int(delay) * 10 for delay in np.diff(ends)],
    loop=0,
    **comment,
  )
  return file.getvalue()


def write_gif(
  path: epath.PathLike,
  frames: Iterable[np.ndarray],
  *,
  fps: float | int,
  provenance: Mapping[str, Any],
  min_height: int = 256,
  labelled: bool = True,
  certificate: Certificate | None = None,
) -> None:
  """Write frames as a GIF; see `encode_gif` and `credentials`."""
  path = checked_path(path, '.gif')
  content = encode_gif(
    frames,
    fps=fps,
    provenance=provenance,
    min_height=min_height,
    labelled=labelled,
  )
  with signed_file(path, certificate, provenance) as part:
    part.write_bytes(content)
