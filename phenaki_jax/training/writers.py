"""Write scalars, images and videos where people look for them.

JSON lines are the source of truth; TensorBoard is for looking. TensorBoard has
no video of its own, but plays an animated GIF that an image summary holds; that
needs no TensorFlow and no moviepy.
"""

import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import tensorboardX
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from phenaki_jax.errors import UserError
from phenaki_jax.files.atomic import replace_file
from phenaki_jax.media.animation import encode_gif, encode_png

Value = Any


@runtime_checkable
class Writer(Protocol):
  """Take the results of a step: numbers, u8[H,W,3] images, u8[T,H,W,3] videos.

  A writer keeps the kinds that it is for. One that has nothing to forget or to
  bring to the disk inherits `rewind` and `close` from here.
  """

  def rewind(self, step: int) -> None:
    """Forget what was written after a step: the run resumes from there."""
    return

  def write(self, step: int, values: Mapping[str, Value]) -> None:
    """Write the results of a step, by name."""
    ...

  def close(self) -> None:
    """Bring everything to the disk."""
    return


def rank(value: Value) -> int:
  """Return 0 for a number, 3 for an image, 4 for a video.

  Raises:
    UserError: if the value is none of them.
  """
  array = np.asarray(value)
  if array.ndim == 0 and array.dtype.kind in 'iufb':
    return 0
  is_pixels = array.dtype == np.uint8 and array.shape[-1:] == (3,)
  if array.ndim in (3, 4) and is_pixels:
    return array.ndim
  raise UserError(
    f'A result of type {array.dtype} and shape {array.shape} cannot be '
    'written; give a number, uint8[H,W,3] or uint8[T,H,W,3].'
  )


class JsonlWriter(Writer):
  """Append one JSON object per step to a file: {"step": 10, "loss": 0.5}.

  A line is whole once it is written, so that nothing is left for `close`.
  """

  def __init__(self, path: str | pathlib.Path) -> None:
    """Name the file; it is made by the first write."""
    self._path = pathlib.Path(path)

  def rewind(self, step: int) -> None:
    """Drop records after a step, and a last line that was cut short."""
    if not self._path.exists():
      return
    kept = []
    for line in self._path.read_text().splitlines():
      try:
        is_kept = json.loads(line)['step'] <= step
      except (ValueError, KeyError, TypeError):
        continue
      if is_kept:
        kept.append(f'{line}\n')
    replace_file(self._path, ''.join(kept).encode())

  def write(self, step: int, values: Mapping[str, Value]) -> None:
    """Append the numbers (null for one that is not finite), and no others."""
    numbers = {
      name: float(value)
      for name, value in sorted(values.items())
      if rank(value) == 0
    }
    # JSON has no word for infinity.
    record = {k: v if math.isfinite(v) else None for k, v in numbers.items()}
    if record:
      self._path.parent.mkdir(parents=True, exist_ok=True)
      with self._path.open('a') as file:
        file.write(json.dumps({'step': step, **record}) + '\n')


class TensorBoardWriter:
  """Write TensorBoard events, without TensorFlow."""

  def __init__(self, folder: str | pathlib.Path, *, fps: float = 8.0) -> None:
    """Name the folder and the speed of videos, in frames per second."""
    self._folder, self._fps = pathlib.Path(folder), fps
    self._events: tensorboardX.FileWriter | None = None

  def rewind(self, step: int) -> None:
    """Tell TensorBoard to hide what earlier files hold after a step."""
    if self._folder.is_dir():
      start = SessionLog(status=SessionLog.START)
      self._open().add_event(Event(session_log=start), step=step + 1)

  def write(self, step: int, values: Mapping[str, Value]) -> None:
    """Write numbers, images, and videos as animated GIFs."""
    events = self._open()
    for name, value in sorted(values.items()):
      entry = self._entry(name, value)
      events.add_summary(Summary(value=[entry]), step)
    events.flush()

  def close(self) -> None:
    """Flush and close the event file."""
    if self._events is not None:
      self._events.close()

  def _entry(self, name: str, value: Value) -> Any:
    kind = rank(value)
    if kind == 0:
      return Summary.Value(tag=name, simple_value=float(value))
    pixels = np.asarray(value)
    content = (
      encode_png(pixels) if kind == 3 else encode_gif(pixels, fps=self._fps)
    )
    height, width = pixels.shape[-3:-1]
    image = Summary.Image(
      height=height, width=width, colorspace=3, encoded_image_string=content
    )
    return Summary.Value(tag=name, image=image)

  def _open(self) -> tensorboardX.FileWriter:
    if self._events is None:
      self._folder.mkdir(parents=True, exist_ok=True)
      self._events = tensorboardX.FileWriter(str(self._folder))
    return self._events


class FileWriter(Writer):
  """Write images and videos as files: samples/<name>_<step>.png and .gif.

  Files of steps that come again are written over, and every file is whole as
  soon as it is there, so that nothing is left for `rewind` and `close`.
  """

  def __init__(self, folder: str | pathlib.Path, *, fps: float = 8.0) -> None:
    """Name the folder and the speed of videos, in frames per second."""
    self._folder, self._fps = pathlib.Path(folder), fps

  def write(self, step: int, values: Mapping[str, Value]) -> None:
    """Write images and videos; numbers are not for this writer."""
    for name, value in sorted(values.items()):
      kind = rank(value)
      if not kind:
        continue
      self._folder.mkdir(parents=True, exist_ok=True)
      pixels = np.asarray(value)
      if kind == 3:
        ending, content = 'png', encode_png(pixels)
      else:
        ending, content = 'gif', encode_gif(pixels, fps=self._fps)
      stem = f'{name.replace("/", "_")}_{step:07d}'
      replace_file(self._folder / f'{stem}.{ending}', content)
