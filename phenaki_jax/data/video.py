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
import math
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import av
import av.stream
import numpy as np
from jaxtyping import Float64, UInt8

from phenaki_jax.data import containers, display, schema

MAX_BYTES = 2**29
MAX_FRAMES = 20_000

Encoded: TypeAlias = bytes | containers.BinaryFile
"""An encoded video: its bytes, or a binary file that can seek."""

# Seeking restarts the decoder, so it pays off only beyond this many seconds.
_SEEK_AFTER = 1.0
_SLACK = 5e-4  # maximum seconds by which rounding may delay a timestamp
# A video whose decoded share of the declared duration is lower is truncated.
_SHORTEST_SHARE = 0.9


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


def examine(
  data: bytes, *, content_hash: str = '', max_duration: float = math.inf
) -> schema.MediaInfo:
  """Decode a whole video in the strictest mode of the decoder.

  Args:
    data: the encoded video.
    content_hash: its hash, which is copied into the result.
    max_duration: in seconds; decoding stops as soon as the video is known to
      be longer, and the result then holds a longer duration.

  Returns:
    The information; width and height are those on the screen.

  Raises:
    schema.DecodeError: the reason is 'empty_file', 'not_a_video',
      'truncated_file', 'broken_file', 'unknown_codec', 'too_large',
      'too_many_pixels', 'too_many_frames', the name of a container and
      '_not_supported', or one of `display.Display.geometry`.
  """
  with _opened(data, strict=True) as (container, stream):
    declared = _declared_duration(container, stream)
    ticks, per_second = stream.time_base.as_integer_ratio()
    count, end, gap = 0, 0.0, 0.0
    previous = size = None
    for time, frame in _frames(container, stream):
      if frame.is_corrupt:
        raise schema.DecodeError('broken_file', f'frame {count} is damaged')
      size = size or display.Display(stream).geometry(frame).size
      if previous is not None:
        gap = time - previous
      length = (frame.duration or 0) * ticks / per_second
      end = time + (length or gap or 1.0 / _rate(stream))
      previous = time
      count += 1
      if max(end, declared) > max_duration:
        end = max(end, declared)
        break
    if size is None or end < _SHORTEST_SHARE * declared:
      raise schema.DecodeError(
        'truncated_file', f'{end:.2f} of {declared:.2f} s can be decoded'
      )
    return schema.MediaInfo(
      content_hash=content_hash,
      width=size[0],
      height=size[1],
      num_frames=count,
      duration=end,
    )


def sample(
  data: Encoded, times: Float64[np.ndarray, 'T'], *, size: tuple[int, int]
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
    show = _shower(stream, size)
    frames = _frames(container, stream, start=times[0])
    picked = _pick(frames, times, slack=_slack(stream), show=show)
    if not picked:
      # The seek went past the first requested frame; decode from the start.
      container.seek(0, backward=True, any_frame=False)
      frames = _frames(container, stream)
      picked = _pick(frames, times, slack=_slack(stream), show=show)
    if not picked:
      raise schema.DecodeError('truncated_file', 'no frame can be decoded')
    return np.stack(picked)


def decode(data: Encoded, *, size: tuple[int, int]) -> TimedFrames:
  """Decode every frame of a video; arguments and errors as in `sample`."""
  with _opened(data) as (container, stream):
    show = _shower(stream, size)
    times, frames = [], []
    for time, shown in display.with_neighbours(_frames(container, stream)):
      times.append(time)
      frames.append(show(shown))
    if not frames:
      raise schema.DecodeError('truncated_file', 'no frame can be decoded')
    return TimedFrames(
      frames=np.stack(frames), times=np.array(times), slack=_slack(stream)
    )


@contextlib.contextmanager
def _opened(
  data: Encoded, *, strict: bool = False
) -> Iterator[tuple[Any, Any]]:
  """Open a video; errors in the block become DecodeErrors with a reason."""
  try:
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    size = file.seek(0, 2)
    if size > MAX_BYTES:
      raise schema.DecodeError('too_large', f'{size} bytes')
    container_format = containers.check(file)
    file.seek(0)
    with av.open(file, format=container_format) as container:
      stream = _main_stream(container)
      context = stream.codec_context
      if context is None:
        raise schema.DecodeError('unknown_codec', 'no decoder is available')
      display.check_pixels(context.width, context.height)
      # The loader has threads of its own, one per batch.
      context.thread_count = 1
      context.thread_type = 'NONE'
      if strict:
        context.options = {'err_detect': 'explode'}
      yield container, stream
  except schema.DecodeError:
    raise
  # On damaged files PyAV also raises UnicodeDecodeError, IndexError,
  # OverflowError and others; one file must not end a build.
  except Exception as error:
    detail = f'{type(error).__name__}: {error}'.splitlines()[0][:200]
    raise schema.DecodeError('broken_file', detail) from error


def _main_stream(container: Any) -> Any:
  """Return the default video stream, of several the largest."""
  streams = [
    stream
    for stream in container.streams.video
    if not stream.disposition & av.stream.Disposition.attached_pic
  ]
  if not streams:
    raise schema.DecodeError('not_a_video', 'it has no video stream')

  def rank(stream: Any) -> tuple[bool, int]:
    context = stream.codec_context
    pixels = context.width * context.height if context else 0
    return bool(stream.disposition & av.stream.Disposition.default), pixels

  return max(streams, key=rank)


def _frames(
  container: Any, stream: Any, start: float = 0.0
) -> Iterator[tuple[float, Any]]:
  """Yield (seconds after the first frame, frame) from `start` or earlier.

  Of several frames with the same timestamp, the first is shown.
  """
  origin = previous = None
  count = 0
  ticks, per_second = stream.time_base.as_integer_ratio()
  frames = container.decode(stream)
  while (frame := next(frames, None)) is not None:
    display.check_pixels(frame.width, frame.height)
    if frame.pts is None:
      raise schema.DecodeError('broken_file', 'a frame has no timestamp')
    if origin is None:
      origin = frame.pts
      target = origin + int(start / stream.time_base)
      if start > _SEEK_AFTER and _has_key_frame(stream, target):
        container.seek(target, stream=stream, backward=True, any_frame=False)
        frames = container.decode(stream)
        continue
    if previous is not None and frame.pts <= previous:
      if frame.pts == previous:
        continue
      raise schema.DecodeError('broken_file', 'timestamps run backwards')
    previous = frame.pts
    count += 1
    if count > MAX_FRAMES:
      raise schema.DecodeError('too_many_frames', f'more than {MAX_FRAMES}')
    # Correctly rounded, and faster than an operation on fractions.
    yield (frame.pts - origin) * ticks / per_second, frame


def _has_key_frame(stream: Any, target: int) -> bool:
  """Return whether there may be a key frame between the first and a time."""
  index = stream.index_entries
  is_known = index.search_timestamp(target, backward=False, any_frame=True) > 0
  return not is_known or index.search_timestamp(target) != 0


def _pick(
  frames: Iterator[tuple[float, Any]],
  times: np.ndarray,
  *,
  slack: float,
  show: Callable[[Any], np.ndarray],
) -> list[np.ndarray]:
  """Return the frame shown at each time; [] if decoding began too late."""
  picked: list[np.ndarray] = []
  shown = pixels = None
  for time, frame in display.with_neighbours(frames):
    # Deinterlacing needs the frame before.
    needed = 0.0 if frame.frame.interlaced_frame else times[0] + slack
    if shown is None and time > max(needed, 0.0):
      return []
    while len(picked) < len(times) and time > times[len(picked)] + slack:
      if pixels is None:
        pixels = show(shown)
      picked.append(pixels)
    shown, pixels = frame, None
    if time >= times[-1] - slack:
      break
  if shown is None:
    return []
  left = len(times) - len(picked)
  return picked + [show(shown)] * left if left else picked


def _shower(stream: Any, size: tuple[int, int]) -> Callable[[Any], np.ndarray]:
  """Return a function that converts a frame to RGB of a size."""
  screen = display.Display(stream)
  return lambda shown: screen.show(shown, size)


def _slack(stream: Any) -> float:
  """Return the seconds by which rounding to a tick may delay a timestamp."""
  return min(float(stream.time_base) / 2, _SLACK)


def _rate(stream: Any) -> float:
  return float(stream.average_rate or stream.guessed_rate or 1)


def _declared_duration(container: Any, stream: Any) -> float:
  if container.format.name == 'avi' and not stream.frames:
    return 0.0  # Unfinished; FFmpeg estimates a duration from the bit rate.
  if stream.duration:
    return float(stream.duration * stream.time_base)
  if container.duration and len(container.streams) == 1:
    # Matroska durations start at time 0, not at the first frame.
    first = max(0, container.start_time or 0)
    return (container.duration - first) / av.time_base
  return 0.0
