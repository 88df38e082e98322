"""Decode video files that nobody vouches for, choosing frames by their time.

The frame shown at a time is the last one at or before it. That holds for
variable rates and for files whose first timestamp is not zero, where index
times average rate is wrong. Times are in seconds after the first frame. Only
what is needed is decoded: frames before the wanted part are skipped by
seeking to the key frame before it, and decoding stops after it.
"""

import contextlib
import dataclasses
import io
import os
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import av
import av.video.reformatter
import numpy as np
from jaxtyping import Float64, UInt8
from PIL import Image

from phenaki_jax.data import schema, transforms

Media: TypeAlias = bytes | str | os.PathLike
"""A video: its bytes, or the path of its file."""

MAX_BYTES = 2**29
MAX_PIXELS = 2**24  # of one frame; 4096 x 4096
MAX_FRAMES = 20_000

# Damaged files make PyAV raise much beside its own errors: UnicodeDecodeError,
# IndexError, OverflowError and others. A TypeError would be our own mistake.
_DECODER_ERRORS = (
  *(av.FFmpegError, ValueError, LookupError, ArithmeticError),
  *(OSError, EOFError, MemoryError, RuntimeError),
)
# Seeking costs a reopened decoder; below this many seconds it gains nothing.
_SEEK_AFTER = 1.0
_SLACK = 5e-4  # seconds that rounding may put a timestamp late, at most
# A video this much shorter than its header says was cut off.
_SHORTEST_SHARE = 0.9
_BOXES = (b'ftyp', b'moov', b'mdat', b'free', b'skip', b'wide', b'pnot')


@dataclasses.dataclass(frozen=True, kw_only=True)
class TimedFrames:
  """Hold every frame of a video with the time it is first shown.

  Attributes:
    frames: uint8 RGB [T, H, W, 3].
    times: float64 [T], in seconds, from 0.
    slack: seconds by which the container may have rounded the times.
  """

  frames: np.ndarray
  times: np.ndarray
  slack: float

  def at(self, times: Float64[np.ndarray, 'T']) -> np.ndarray:
    """Return the frames shown at `times`, in seconds."""
    index = np.searchsorted(self.times, times + self.slack, side='right') - 1
    return self.frames[np.maximum(index, 0)]


def window(
  *, duration: float, frames: int, fps: float, position: float
) -> tuple[Float64[np.ndarray, 'T'], int]:
  """Choose the times of the frames of a clip.

  Args:
    duration: of the video, in seconds.
    frames: wanted, 1 + 2k.
    fps: of the clip.
    position: in [0, 1), where the clip starts among all possible starts.

  Returns:
    The times of the frames that are real, and their number: `frames`, or the
    largest 1 + 2k that fits into the video.
  """
  fits = max(1, int(np.ceil(duration * fps - 1e-6)))
  valid = min(frames, fits - (1 - fits % 2))
  latest = max(0.0, duration - (valid - 1) / fps)
  return position * latest + np.arange(valid) / fps, valid


def examine(media: Media) -> tuple[int, int, int, float]:
  """Decode a video fully, as strictly as the decoder can.

  Returns:
    Width and height in pixels, the number of frames, and the duration in
    seconds from the first frame to the end of the last.

  Raises:
    schema.DecodeError: the reason is 'missing_file', 'empty_file',
      'not_a_video', 'truncated_file', 'broken_file', 'unknown_codec',
      'too_large', 'too_many_pixels' or 'too_many_frames'.
  """
  with _opened(media, strict=True) as (container, stream):
    count, end, step = 0, 0.0, 0.0
    previous = None
    for time, frame in _frames(container, stream):
      if frame.is_corrupt:
        raise schema.DecodeError('broken_file', f'frame {count} is damaged')
      if previous is not None:
        step = time - previous
      length = float((frame.duration or 0) * stream.time_base)
      end = time + (length or step or 1.0 / _rate(stream))
      previous = time
      count += 1
    declared = _declared_duration(container, stream)
    if not count or end < _SHORTEST_SHARE * declared:
      raise schema.DecodeError(
        'truncated_file', f'{end:.2f} of {declared:.2f} s can be decoded'
      )
    return stream.width, stream.height, count, end


def sample(
  media: Media, times: Float64[np.ndarray, 'T'], *, size: tuple[int, int]
) -> UInt8[np.ndarray, 'T H W 3']:
  """Decode the frames shown at `times`.

  Args:
    media: the video.
    times: in seconds, not falling.
    size: height and width of the result; the aspect is kept, the centre cut.

  Raises:
    schema.DecodeError: the video cannot be decoded; reasons as in `examine`.
  """
  with _opened(media) as (container, stream):
    fit = _fitter(size)
    frames = _frames(container, stream, start=times[0])
    picked = _pick(frames, times, slack=_slack(stream), fit=fit)
    if not picked:
      # The index led past the wanted frame; do without it.
      container.seek(0, backward=True, any_frame=False)
      frames = _frames(container, stream)
      picked = _pick(frames, times, slack=_slack(stream), fit=fit)
    if not picked:
      raise schema.DecodeError('truncated_file', 'no frame can be decoded')
    return np.stack(picked)


def decode(media: Media, *, size: tuple[int, int]) -> TimedFrames:
  """Decode every frame of a video; arguments and errors as in `sample`."""
  with _opened(media) as (container, stream):
    fit = _fitter(size)
    times, frames = [], []
    for time, frame in _frames(container, stream):
      times.append(time)
      frames.append(fit(frame))
    if not frames:
      raise schema.DecodeError('truncated_file', 'no frame can be decoded')
    return TimedFrames(
      frames=np.stack(frames), times=np.array(times), slack=_slack(stream)
    )


def sniff(file: io.BufferedIOBase) -> str:
  """Return FFmpeg's name of the container, from the first bytes of a file.

  Naming it keeps FFmpeg from guessing: a playlist, which would make it open
  other files and addresses, is never taken for a video.

  Raises:
    schema.DecodeError: 'empty_file' or 'not_a_video'.
  """
  head = file.read(16)
  file.seek(0)
  if not head:
    raise schema.DecodeError('empty_file')
  if head[4:8] in _BOXES:
    return 'mov'
  if head[:4] == b'\x1aE\xdf\xa3':
    return 'matroska'
  if head[:4] == b'RIFF' and head[8:12] == b'AVI ':
    return 'avi'
  if head[:6] in (b'GIF87a', b'GIF89a'):
    return 'gif'
  raise schema.DecodeError('not_a_video', f'it begins with {head!r}')


@contextlib.contextmanager
def _opened(media: Media, *, strict: bool = False) -> Iterator[tuple[Any, Any]]:
  """Open a video; every error inside becomes a DecodeError with a reason."""
  try:
    with _file(media) as file:
      size = file.seek(0, os.SEEK_END)
      file.seek(0)
      if size > MAX_BYTES:
        raise schema.DecodeError('too_large', f'{size} bytes')
      container_format = sniff(file)
      if container_format == 'mov' and _is_cut_off(file, size):
        raise schema.DecodeError('truncated_file', f'of {size} bytes')
      with av.open(file, format=container_format) as container:
        if not container.streams.video:
          raise schema.DecodeError('not_a_video', 'it has no video stream')
        stream = container.streams.video[0]
        context = stream.codec_context
        if context is None:
          raise schema.DecodeError('unknown_codec', 'nothing here decodes it')
        _check_pixels(context.width, context.height)
        # The loader has threads of its own, one per batch.
        context.thread_count = 1
        context.thread_type = 'NONE'
        if strict:
          context.options = {'err_detect': 'explode'}
        yield container, stream
  except schema.DecodeError:
    raise
  except FileNotFoundError as error:
    raise schema.DecodeError('missing_file', str(media)) from error
  except _DECODER_ERRORS as error:
    detail = f'{type(error).__name__}: {error}'.splitlines()[0][:200]
    raise schema.DecodeError('broken_file', detail) from error


def _file(media: Media) -> io.BufferedIOBase:
  if isinstance(media, bytes):
    return io.BytesIO(media)
  return open(media, 'rb')


def _is_cut_off(file: io.BufferedIOBase, size: int) -> bool:
  """Say whether the boxes of an MP4 file run past its end or lack the index."""
  position, has_index = 0, False
  while position + 8 <= size:
    file.seek(position)
    head = file.read(16)
    length = int.from_bytes(head[:4], 'big')
    if length == 1:
      length = int.from_bytes(head[8:16], 'big')
    has_index |= head[4:8] == b'moov'
    if length == 0:
      break
    if length < 8 or position + length > size:
      return True
    position += length
  file.seek(0)
  return not has_index


def _frames(
  container: Any, stream: Any, start: float = 0.0
) -> Iterator[tuple[float, Any]]:
  """Yield (seconds after the first frame, frame) from about `start` on."""
  origin = previous = None
  count = 0
  for frame in container.decode(stream):
    _check_pixels(frame.width, frame.height)
    if frame.pts is None:
      raise schema.DecodeError('broken_file', 'a frame has no timestamp')
    if origin is None:
      origin = frame.pts
      if start > _SEEK_AFTER:
        break
    if previous is not None and frame.pts < previous:
      raise schema.DecodeError('broken_file', 'timestamps run backwards')
    previous = frame.pts
    count += 1
    if count > MAX_FRAMES:
      raise schema.DecodeError('too_many_frames', f'more than {MAX_FRAMES}')
    yield float((frame.pts - origin) * stream.time_base), frame
  else:
    return
  target = origin + int(start / stream.time_base)
  container.seek(target, stream=stream, backward=True, any_frame=False)
  for frame in container.decode(stream):
    _check_pixels(frame.width, frame.height)
    count += 1
    if count > MAX_FRAMES or frame.pts is None:
      raise schema.DecodeError('broken_file', 'the key frames are too far')
    yield float((frame.pts - origin) * stream.time_base), frame


def _pick(
  frames: Iterator[tuple[float, Any]],
  times: np.ndarray,
  *,
  slack: float,
  fit: Callable[[Any], np.ndarray],
) -> list[np.ndarray]:
  """Return what is shown at each time; nothing if frames start too late."""
  picked: list[np.ndarray] = []
  shown = pixels = None
  for time, frame in frames:
    if shown is None and time > max(times[0] + slack, 0.0):
      return []
    while len(picked) < len(times) and time > times[len(picked)] + slack:
      if pixels is None:
        pixels = fit(shown)
      picked.append(pixels)
    shown, pixels = frame, None
    if time >= times[-1] - slack:
      break
  if shown is None:
    return []
  pixels = fit(shown)
  return picked + [pixels] * (len(times) - len(picked))


def _fitter(size: tuple[int, int]) -> Callable[[Any], np.ndarray]:
  """Return what turns decoded frames into RGB pixels of a size."""
  # Left alone, the scaler starts a thread per core for every single frame.
  reformatter = av.video.reformatter.VideoReformatter()

  def fit(frame: Any) -> np.ndarray:
    rgb = reformatter.reformat(frame, format='rgb24', threads=1)
    return transforms.fit(Image.fromarray(rgb.to_ndarray()), size)

  return fit


def _slack(stream: Any) -> float:
  """Return by how much rounding to a tick may put a timestamp late."""
  return min(float(stream.time_base) / 2, _SLACK)


def _rate(stream: Any) -> float:
  return float(stream.average_rate or stream.guessed_rate or 1)


def _declared_duration(container: Any, stream: Any) -> float:
  if stream.duration:
    return float(stream.duration * stream.time_base)
  if container.duration and len(container.streams) == 1:
    # Matroska counts from time 0, not from the first frame.
    first = max(0, container.start_time or 0)
    return (container.duration - first) / av.time_base
  return 0.0


def _check_pixels(width: int, height: int) -> None:
  if width * height > MAX_PIXELS:
    raise schema.DecodeError(
      'too_many_pixels', f'{width} x {height}, at most {MAX_PIXELS}'
    )
