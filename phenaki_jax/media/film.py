"""Write pictures and films; the only place that does.

Films are H.264 in MP4, which plays everywhere, and GIF. Every file carries its
provenance as JSON in the format's own comment, and says that it is
AI-generated unless the caller says otherwise. A file appears under its name
only when it is complete.
"""

import contextlib
import dataclasses
import fractions
import os
import pathlib
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import av
import numpy as np
from jaxtyping import UInt8
from PIL import Image, PngImagePlugin

from phenaki_jax.errors import UserError
from phenaki_jax.media.provenance import COMMENT, provenance_json
from phenaki_jax.types import ImageU8, VideoU8

Path = str | os.PathLike[str]

# ITU-R BT.709 and the limited range, as libav numbers them. Without the tag,
# players guess by the size of the picture, and colours shift.
_BT709 = 1
_LIMITED = 1
# Browsers slow a GIF down when a frame is shorter than this.
_GIF_LEAST_MS = 20


class Mp4Writer:
  """Write an MP4 frame by frame, in memory that does not grow with it.

  Used as a context manager: the file takes its name at the end, and an
  exception removes what was written.

      with Mp4Writer('story.mp4', fps=8, provenance={'seed': 7}) as film:
        for frame in frames:
          film.write(frame)
  """

  def __init__(
    self,
    path: Path,
    *,
    fps: float | int,
    provenance: Mapping[str, Any],
    min_height: int = 256,
    quality: int = 18,
  ) -> None:
    """Open the film; nothing is written before the first frame.

    Args:
      path: the file, ending in `.mp4`.
      fps: frames per second, above 0.
      provenance: plain values that say how the film was made.
      min_height: small frames are enlarged by the least whole factor that
        gives this height, without smoothing; 1 keeps every pixel as it is.
      quality: constant rate factor, 0 (lossless) to 51.

    Raises:
      UserError: for a value out of these ranges.
    """
    self._path = _checked_path(path, '.mp4')
    self._fps = fractions.Fraction(_checked_fps(fps)).limit_denominator(1001)
    if not 0 <= quality <= 51:
      raise UserError(f'quality is {quality}, but must be in 0..51')
    self._quality = quality
    self._min_height = min_height
    self._comment = provenance_json(provenance)
    self._part = _part(self._path)
    self._shape: tuple[int, ...] | None = None
    self._container: Any = None
    self._stream: Any = None
    self._num_frames = 0

  @property
  def num_frames(self) -> int:
    """Return how many frames were written so far."""
    return self._num_frames

  def write(self, frame: np.ndarray) -> None:
    """Append one frame, uint8 RGB [H, W, 3].

    Raises:
      UserError: for another type or shape, and for another size than that of
        the first frame.
    """
    frame = checked_frame(frame)
    if self._shape is None:
      self._open(frame)
    elif frame.shape != self._shape:
      raise UserError(
        f'frame {self._num_frames} has the shape {frame.shape}, but the film '
        f'has {self._shape}: all frames of a film are of one size'
      )
    picture = av.VideoFrame.from_ndarray(
      _even(enlarge(frame, self._min_height)), format='rgb24'
    ).reformat(
      format='yuv420p', dst_colorspace=_BT709, dst_color_range=_LIMITED
    )
    picture.pts = self._num_frames
    self._container.mux(self._stream.encode(picture))
    self._num_frames += 1

  def close(self) -> None:
    """Finish the file and give it its name.

    Raises:
      UserError: if no frame was written.
    """
    if self._container is None:
      raise UserError(f'no frame was written to {self._path}')
    with _complete(self._path):
      self._container.mux(self._stream.encode(None))
      self._container.close()

  def __enter__(self) -> 'Mp4Writer':
    """Return the writer itself."""
    return self

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
    if self._container is not None:
      self._container.close()
    self._part.unlink(missing_ok=True)

  def _open(self, frame: ImageU8) -> None:
    self._shape = frame.shape
    self._path.parent.mkdir(parents=True, exist_ok=True)
    self._container = av.open(
      str(self._part), 'w', format='mp4', options={'movflags': '+faststart'}
    )
    self._container.metadata[COMMENT] = self._comment
    self._stream = self._container.add_stream('libx264', rate=self._fps)
    height, width, _ = _even(enlarge(frame, self._min_height)).shape
    self._stream.height, self._stream.width = height, width
    self._stream.pix_fmt = 'yuv420p'
    # The same frames give the same file on any machine: one thread, and none
    # of x264's shortcuts that differ between processors (and read memory that
    # was never written, in small frames).
    self._stream.options = {
      'crf': str(self._quality),
      'x264-params': 'cpu-independent=1',
    }
    context = self._stream.codec_context
    context.thread_count = 1
    context.time_base = 1 / self._fps
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = _LIMITED


def write_mp4(
  path: Path,
  frames: Iterable[np.ndarray],
  *,
  fps: float | int,
  provenance: Mapping[str, Any],
  min_height: int = 256,
) -> None:
  """Write frames, uint8 RGB [H, W, 3] each, as an MP4; see `Mp4Writer`."""
  with Mp4Writer(
    path, fps=fps, provenance=provenance, min_height=min_height
  ) as film:
    for frame in frames:
      film.write(frame)


def write_gif(
  path: Path,
  frames: Iterable[np.ndarray],
  *,
  fps: float | int,
  provenance: Mapping[str, Any],
  min_height: int = 256,
) -> None:
  """Write frames, uint8 RGB [H, W, 3] each, as an endless GIF.

  All frames share one palette, so that still colours do not flicker. Delays
  are whole hundredths of a second; they are spread so that the film as a whole
  keeps its pace.

  Raises:
    UserError: for no frames, frames of several sizes, or more than 50 frames
      a second, which no viewer plays.
  """
  path = _checked_path(path, '.gif')
  if _checked_fps(fps) > 1000 / _GIF_LEAST_MS:
    raise UserError(
      f'fps is {fps}, but viewers slow a GIF of more than 50 down: write an '
      'MP4, or leave frames out'
    )
  pictures = [Image.fromarray(checked_frame(frame)) for frame in frames]
  if not pictures:
    raise UserError(f'there are no frames to write to {path}')
  if len({picture.size for picture in pictures}) > 1:
    raise UserError('all frames of a film must be of one size')
  palette = _palette(pictures)
  indexed = [
    _enlarge_picture(
      picture.quantize(palette=palette, dither=Image.Dither.NONE), min_height
    )
    for picture in pictures
  ]
  ends = [round((i + 1) * 100 / fps) for i in range(len(indexed))]
  delays = [
    10 * (end - start) for start, end in zip([0, *ends], ends, strict=False)
  ]
  with _complete(path) as part:
    indexed[0].save(
      part,
      format='GIF',
      save_all=True,
      append_images=indexed[1:],
      duration=delays,
      loop=0,
      comment=provenance_json(provenance).encode('ascii'),
    )


def write_png(
  path: Path, image: np.ndarray, *, provenance: Mapping[str, Any]
) -> None:
  """Write a picture, uint8 RGB [H, W, 3], as it is.

  Raises:
    UserError: for another type or shape.
  """
  path = _checked_path(path, '.png')
  info = PngImagePlugin.PngInfo()
  info.add_text(COMMENT, provenance_json(provenance))
  with _complete(path) as part:
    Image.fromarray(checked_frame(image)).save(part, 'PNG', pnginfo=info)


def checked_frame(frame: np.ndarray) -> ImageU8:
  """Return the frame; raise a UserError unless it is uint8 [H, W, 3]."""
  frame = np.asarray(frame)
  if frame.dtype != np.uint8:
    raise UserError(
      f'a frame holds uint8 values 0..255, not {frame.dtype}; convert model '
      'outputs with phenaki_jax.pixels.to_uint8'
    )
  if frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
    raise UserError(f'a frame has the shape [H, W, 3] (RGB), not {frame.shape}')
  return frame


def enlarge(
  frame: ImageU8, min_height: int
) -> UInt8[np.ndarray, 'rows columns 3']:
  """Repeat pixels by the least whole factor that gives `min_height`."""
  factor = _factor(frame.shape[0], min_height)
  return frame.repeat(factor, axis=0).repeat(factor, axis=1)


def _factor(height: int, min_height: int) -> int:
  return max(1, -(-min_height // height))


def _enlarge_picture(picture: Image.Image, min_height: int) -> Image.Image:
  factor = _factor(picture.height, min_height)
  size = (picture.width * factor, picture.height * factor)
  return picture.resize(size, Image.Resampling.NEAREST)


def _even(frame: ImageU8) -> UInt8[np.ndarray, 'rows columns 3']:
  # Colour has half the resolution in yuv420p, so odd sizes gain one line.
  height, width, _ = frame.shape
  return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode='edge')


def _palette(pictures: Sequence[Image.Image]) -> Image.Image:
  """Choose 256 colours from up to 16 frames of the whole film."""
  count = min(16, len(pictures))
  chosen = np.linspace(0, len(pictures) - 1, count).round().astype(int)
  rows = np.concatenate([np.asarray(pictures[i]) for i in chosen])
  return Image.fromarray(rows).quantize(256, dither=Image.Dither.NONE)


def _checked_path(path: Path, suffix: str) -> pathlib.Path:
  path = pathlib.Path(path)
  if path.suffix != suffix:
    raise UserError(f'{path} must end in {suffix}')
  return path


def _checked_fps(fps: float | int) -> float | int:
  if not 0 < fps <= 1000:
    raise UserError(f'fps is {fps}, but must be above 0 and at most 1000')
  return fps


def _part(path: pathlib.Path) -> pathlib.Path:
  return path.with_name(path.name + '.part')


@contextlib.contextmanager
def _complete(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Give a path to write to, and rename it when all went well."""
  path.parent.mkdir(parents=True, exist_ok=True)
  part = _part(path)
  try:
    yield part
    part.replace(path)
  finally:
    part.unlink(missing_ok=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Film:
  """The frames of a generated story.

  Attributes:
    frames: uint8 RGB [T, H, W, 3].
    fps: frames per second.
    scenes: the prompt and the number of frames of each scene, in order.
    provenance: JSON values that describe how the film was made.
  """

  frames: VideoU8
  fps: float
  scenes: tuple[tuple[str, int], ...]
  provenance: Mapping[str, Any]

  def save(self, path: Path) -> pathlib.Path:
    """Write the film as `.mp4` or `.gif`, by the suffix of the path."""
    path = pathlib.Path(path)
    writer = write_gif if path.suffix == '.gif' else write_mp4
    writer(path, self.frames, fps=self.fps, provenance=self.provenance)
    return path
