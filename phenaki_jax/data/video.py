"""Decoding of untrusted video files; frames are selected by their time.

The frame shown at a time is the last one at or before it. This is correct for
variable frame rates and for files whose first timestamp is not zero, where
frame index times average rate is not. Times are in seconds after the first
frame. Decoding starts at the last key frame before the requested frames and
stops after them.
"""

import contextlib
import dataclasses
import io
from collections.abc import Callable, Iterator
from typing import Any

import av
import av.video.reformatter
import numpy as np
from jaxtyping import Float64, UInt8
from PIL import Image

from phenaki_jax.data import schema, transforms

MAX_BYTES = 2**29
MAX_PIXELS = 2**24  # of one frame; 4096 x 4096
MAX_FRAMES = 20_000

# On damaged files PyAV also raises UnicodeDecodeError, IndexError,
# OverflowError and others. TypeError is left out: it would be our own bug.
_DECODER_ERRORS = (
  *(av.FFmpegError, ValueError, LookupError, ArithmeticError),
  *(OSError, EOFError, MemoryError, RuntimeError),
)
# Seeking restarts the decoder, so it pays off only beyond this many seconds.
_SEEK_AFTER = 1.0
_SLACK = 5e-4  # maximum seconds by which rounding may delay a timestamp
# A video whose decoded share of the declared duration is lower is truncated.
_SHORTEST_SHARE = 0.9
_BOXES = (b'ftyp', b'moov', b'mdat', b'free', b'skip', b'wide', b'pnot')


@dataclasses.dataclass(frozen=True, kw_only=True)
class TimedFrames:
  """Every frame of a video with the time at which it is first shown.

  Attributes:
    frames: uint8 RGB [T, H, W, 3].
    times: float64 [T], in seconds, starting at 0.
    slack: seconds by which the container may have rounded the times.
  """

  frames: np.ndarray
  times: np.ndarray
  slack: float

  def at(self, times: Float64[np.ndarray, 'T']) -> UInt8[np.ndarray, 'T H W 3']:
    """Return the frames shown at `times`, in seconds."""
    index = np.searchsorted(self.times, times + self.slack, side='right') - 1
    return self.frames[np.maximum(index, 0)]


def window(
  *, duration: float, frames: int, fps: float, tubelet: int, position: float
) -> Float64[np.ndarray, 'T']:
  """Choose the times of the frames of a clip.

  Args:
    duration: of the video, in seconds.
    frames: requested frames, 1 + k * tubelet.
    fps: frames per second of the clip.
    tubelet: frames per latent frame.
    position: in [0, 1), start of the clip among all possible starts.

  Returns:
    The times, in seconds, of `frames` frames, or of the largest number
    1 + k * tubelet that fits into a shorter video.
  """
  fits = max(1, int(np.ceil(duration * fps - 1e-6)))
  valid = min(frames, 1 + (fits - 1) // tubelet * tubelet)
  latest = max(0.0, duration - (valid - 1) / fps)
  return position * latest + np.arange(valid) / fps


def examine(data: bytes, *, content_hash: str = '') -> schema.MediaInfo:
  """Decode a whole video in the strictest mode of the decoder.

  Args:
    data: the encoded video.
    content_hash: its hash, which is copied into the result.

  Raises:
    schema.DecodeError: the reason is 'empty_file', 'not_a_video',
      'truncated_file', 'broken_file', 'unknown_codec', 'too_large',
      'too_many_pixels' or 'too_many_frames'.
  """
  with _opened(data, strict=True) as (container, stream):
    count, end, gap = 0, 0.0, 0.0
    previous = None
    for time, frame in _frames(container, stream):
      if frame.is_corrupt:
        raise schema.DecodeError('broken_file', f'frame {count} is damaged')
      if previous is not None:
        gap = time - previous
      length = float((frame.duration or 0) * stream.time_base)
      end = time + (length or gap or 1.0 / _rate(stream))
      previous = time
      count += 1
    declared = _declared_duration(container, stream)
    if not count or end < _SHORTEST_SHARE * declared:
      raise schema.DecodeError(
        'truncated_file', f'{end:.2f} of {declared:.2f} s can be decoded'
      )
    return schema.MediaInfo(
      content_hash=content_hash,
      width=stream.width,
      height=stream.height,
      num_frames=count,
      duration=end,
    )


def sample(
  data: bytes, times: Float64[np.ndarray, 'T'], *, size: tuple[int, int]
) -> UInt8[np.ndarray, 'T H W 3']:
  """Decode the frames shown at `times`.

  Args:
    data: the encoded video.
    times: in seconds, in increasing order.
    size: height and width of the result; see `transforms.fit`.

  Raises:
    schema.DecodeError: the video cannot be decoded; reasons as in `examine`.
  """
  with _opened(data) as (container, stream):
    fit = _fitter(size)
    frames = _frames(container, stream, start=times[0])
    picked = _pick(frames, times, slack=_slack(stream), fit=fit)
    if not picked:
      # The seek went past the first requested frame; decode from the start.
      container.seek(0, backward=True, any_frame=False)
      frames = _frames(container, stream)
      picked = _pick(frames, times, slack=_slack(stream), fit=fit)
    if not picked:
      raise schema.DecodeError('truncated_file', 'no frame can be decoded')
    return np.stack(picked)


def decode(data: bytes, *, size: tuple[int, int]) -> TimedFrames:
  """Decode every frame of a video; arguments and errors as in `sample`."""
  with _opened(data) as (container, stream):
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


def _container_format(head: bytes) -> str:
  """Return FFmpeg's name of the container, from the first bytes of a file.

  FFmpeg must not guess the format, because it would open the files and
  addresses that a playlist names.
  """
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
def _opened(data: bytes, *, strict: bool = False) -> Iterator[tuple[Any, Any]]:
  """Open a video; errors in the block become DecodeErrors with a reason."""
  try:
    if len(data) > MAX_BYTES:
      raise schema.DecodeError('too_large', f'{len(data)} bytes')
    container_format = _container_format(data[:16])
    if container_format == 'mov' and _is_cut_off(data):
      raise schema.DecodeError('truncated_file', f'of {len(data)} bytes')
    with av.open(io.BytesIO(data), format=container_format) as container:
      if not container.streams.video:
        raise schema.DecodeError('not_a_video', 'it has no video stream')
      stream = container.streams.video[0]
      context = stream.codec_context
      if context is None:
        raise schema.DecodeError('unknown_codec', 'no decoder is available')
      _check_pixels(context.width, context.height)
      # The loader has threads of its own, one per batch.
      context.thread_count = 1
      context.thread_type = 'NONE'
      if strict:
        context.options = {'err_detect': 'explode'}
      yield container, stream
  except schema.DecodeError:
    raise
  except _DECODER_ERRORS as error:
    detail = f'{type(error).__name__}: {error}'.splitlines()[0][:200]
    raise schema.DecodeError('broken_file', detail) from error


def _is_cut_off(data: bytes) -> bool:
  """Return whether an MP4 box ends after the file or the index is missing."""
  position, has_index = 0, False
  while position + 8 <= len(data):
    head = data[position : position + 16]
    length = int.from_bytes(head[:4], 'big')
    if length == 1:
      length = int.from_bytes(head[8:16], 'big')
    has_index |= head[4:8] == b'moov'
    if length == 0:
      break
    if length < 8 or position + length > len(data):
      return True
    position += length
  return not has_index


def _frames(
  container: Any, stream: Any, start: float = 0.0
) -> Iterator[tuple[float, Any]]:
  """Yield (seconds after the first frame, frame) from `start` or earlier."""
  origin = previous = None
  count = 0
  frames = container.decode(stream)
  while (frame := next(frames, None)) is not None:
    _check_pixels(frame.width, frame.height)
    if frame.pts is None:
      raise schema.DecodeError('broken_file', 'a frame has no timestamp')
    if origin is None:
      origin = frame.pts
      if start > _SEEK_AFTER:
        target = origin + int(start / stream.time_base)
        container.seek(target, stream=stream, backward=True, any_frame=False)
        frames = container.decode(stream)
        continue
    if previous is not None and frame.pts < previous:
      raise schema.DecodeError('broken_file', 'timestamps run backwards')
    previous = frame.pts
    count += 1
    if count > MAX_FRAMES:
      raise schema.DecodeError('too_many_frames', f'more than {MAX_FRAMES}')
    yield float((frame.pts - origin) * stream.time_base), frame


def _pick(
  frames: Iterator[tuple[float, Any]],
  times: np.ndarray,
  *,
  slack: float,
  fit: Callable[[Any], np.ndarray],
) -> list[np.ndarray]:
  """Return the frame shown at each time; [] if the first frame is later."""
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
  """Return a function that converts a decoded frame to RGB of a size."""
  # By default the scaler starts a thread per core for every frame.
  reformatter = av.video.reformatter.VideoReformatter()

  def fit(frame: Any) -> np.ndarray:
    rgb = reformatter.reformat(frame, format='rgb24', threads=1)
    return transforms.fit(Image.fromarray(rgb.to_ndarray()), size)

  return fit


def _slack(stream: Any) -> float:
  """Return the seconds by which rounding to a tick may delay a timestamp."""
  return min(float(stream.time_base) / 2, _SLACK)


def _rate(stream: Any) -> float:
  return float(stream.average_rate or stream.guessed_rate or 1)


def _declared_duration(container: Any, stream: Any) -> float:
  if stream.duration:
    return float(stream.duration * stream.time_base)
  if container.duration and len(container.streams) == 1:
    # Matroska durations start at time 0, not at the first frame.
    first = max(0, container.start_time or 0)
    return (container.duration - first) / av.time_base
  return 0.0


def _check_pixels(width: int, height: int) -> None:
  if width * height > MAX_PIXELS:
    raise schema.DecodeError(
      'too_many_pixels', f'{width} x {height}, at most {MAX_PIXELS}'
    )
