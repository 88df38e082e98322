"""Films as MP4 with H.264, which every player and browser supports."""

import contextlib
import fractions
import types
from collections.abc import Iterable, Mapping
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from etils import epath
from jaxtyping import UInt8

from phenaki_jax.errors import UserError
from phenaki_jax.files.paths import checked_path, is_remote
from phenaki_jax.media import mark
from phenaki_jax.media.credentials import Certificate, signed_file
from phenaki_jax.media.frames import checked_fps, checked_frame
from phenaki_jax.media.label import film_frame
from phenaki_jax.media.provenance import COMMENT, provenance_json
from phenaki_jax.types import ImageU8

# ITU-R BT.709 and the limited range, as libav numbers them. Without the tags,
# players guess the colour space from the resolution, and colours shift.
_BT709 = 1
_LIMITED = 1


class Mp4Writer(contextlib.AbstractContextManager['Mp4Writer']):
  """Write an MP4 frame by frame; memory use does not grow with its length.

  Generated frames are labelled as such; see `label.film_frame`.

  A context manager: the file appears when the block ends, and an exception
  removes what was written.

      with Mp4Writer('story.mp4', fps=8, provenance={'seed': 7}) as film:
        for frame in frames:
          film.write(frame)
  """

  def __init__(
    self,
    path: epath.PathLike,
    *,
    fps: float | int,
    provenance: Mapping[str, Any],
    min_height: int = 256,
    pixel_format: str = 'yuv420p',
    labelled: bool = True,
    marked: bool = False,
    certificate: Certificate | None = None,
  ) -> None:
    """Check the settings; nothing is written before the first frame.

    Args:
      path: the file, ending in `.mp4`.
      fps: frames per second, above 0.
      provenance: JSON values that describe how the film was made.
      min_height: small frames are enlarged by the smallest integer factor
        that gives this height, without smoothing; 1 keeps their size.
      pixel_format: 'yuv444p' keeps the full resolution of colour, which many
        players and browsers do not support.
      labelled: False writes generated frames without the label.
      marked: whether the film has the invisible mark; see `mark`.
      certificate: signs the film; see `credentials`.

    Raises:
      UserError: for a value out of these ranges.
    """
    self._path = checked_path(path, '.mp4')
    if is_remote(path):
      raise UserError(
        f'{path} is in a bucket, where an MP4 cannot be written; save it to a '
        'local disk and copy it'
      )
    self._fps = fractions.Fraction(checked_fps(fps)).limit_denominator(1001)
    self._min_height = min_height
    self._pixel_format = pixel_format
    self._labelled, self._marked = labelled, marked
    self._certificate = certificate
    self._comment = provenance_json(provenance)
    self._provenance = provenance
    self._stack = contextlib.ExitStack()
    self._shape: tuple[int, ...] | None = None
    self._container: Any = None
    self._stream: Any = None
    self._num_frames = 0
    # One for all frames: creating a reformatter costs more than a conversion.
    self._reformatter = VideoReformatter()

  def write(self, frame: np.ndarray) -> None:
    """Append one frame, uint8 RGB [H, W, 3].

    Raises:
      UserError: for another dtype or shape, or if the size differs from that
        of the first frame.
    """
    frame = checked_frame(frame)
    height = self._min_height
    pixels = _even(
      film_frame(
        mark.embed(frame, min_height=height) if self._marked else frame,
        self._provenance,
        min_height=height,
        labelled=self._labelled,
      )
    )
    if self._shape is None:
      self._shape = frame.shape
      self._open(*pixels.shape[:2])
    elif frame.shape != self._shape:
      raise UserError(
        f'frame {self._num_frames} has the shape {frame.shape}, but the first '
        f'has {self._shape}: all frames of a film must be of one size'
      )
    picture = self._reformatter.reformat(
      av.VideoFrame.from_ndarray(pixels, format='rgb24'),
      format=self._pixel_format,
      dst_colorspace=_BT709,
      dst_color_range=_LIMITED,
      threads=1,
    )
    picture.pts = self._num_frames
    self._container.mux(self._stream.encode(picture))
    self._num_frames += 1

  def close(self) -> None:
    """Finish the file and move it to its path.

    Raises:
      UserError: if no frame was written.
    """
    if self._container is None:
      raise UserError(f'no frame was written to {self._path}')
    with self._stack:
      self._container.mux(self._stream.encode(None))

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: types.TracebackType | None,
  ) -> None:
    """Finish the file, or remove it after an exception."""
    if kind is None:
      self.close()
      return
    self._stack.__exit__(kind, error, trace)

  def _open(self, height: int, width: int) -> None:
    part = self._stack.enter_context(
      signed_file(self._path, self._certificate, self._provenance)
    )
    self._container = self._stack.enter_context(
      av.open(str(part), 'w', format='mp4', options={'movflags': '+faststart'})
    )
    self._container.metadata[COMMENT] = self._comment
    self._stream = self._container.add_stream('libx264', rate=self._fps)
    self._stream.height, self._stream.width = height, width
    self._stream.pix_fmt = self._pixel_format
    # The same frames must give the same file on any machine: one thread, and
    # none of x264's processor-specific code paths (which also read
    # uninitialised memory for small frames).
    self._stream.options = {
      'crf': '18',
      'x264-params': 'cpu-independent=1',
    }
    context = self._stream.codec_context
    context.thread_count = 1
    context.time_base = 1 / self._fps
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = _LIMITED


def write_mp4(
  path: epath.PathLike,
  frames: Iterable[np.ndarray],
  *,
  fps: float | int,
  provenance: Mapping[str, Any],
  **settings: Any,
) -> None:
  """Write frames, uint8 RGB [H, W, 3] each, as an MP4; see `Mp4Writer`."""
  with Mp4Writer(path, fps=fps, provenance=provenance, **settings) as film:
    for frame in frames:
      film.write(frame)


def _even(frame: ImageU8) -> UInt8[np.ndarray, 'rows columns 3']:
  # yuv420p halves the resolution of colour, so odd sizes gain one line.
  height, width, _ = frame.shape
  if not (height % 2 or width % 2):
    return frame
  return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode='edge')
