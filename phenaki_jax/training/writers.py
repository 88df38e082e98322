"""Writers of a run's scalars, images and videos.

The JSON lines are the complete record; TensorBoard is for viewing. A video is
an animated GIF in an image summary, which TensorBoard plays; this needs neither
TensorFlow nor moviepy.
"""

import io
import json
import math
import os
import secrets
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import tensorboardX
from etils import epath
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from phenaki_jax.errors import UserError
from phenaki_jax.extras import check_extra
from phenaki_jax.files.append import append
from phenaki_jax.files.atomic import replace_file, sweep_folder
from phenaki_jax.files.paths import is_remote
from phenaki_jax.media.gif import MAX_FPS, encode_gif
from phenaki_jax.media.png import encode_png
from phenaki_jax.training.config import WandbConfig

Value = Any


@runtime_checkable
class Writer(Protocol):
  """Takes the results of a step: numbers, u8[H,W,3] images, u8[T,H,W,3] videos.

  A writer ignores the kinds that it does not store. `rewind` and `close` do
  nothing by default.
  """

  def rewind(self, step: int) -> None:
    """Remove results of steps after the one from which the run resumes."""
    return

  def write(self, step: int, values: Mapping[str, Value]) -> None:
    """Write the results of a step, by name."""
    ...

  def close(self) -> None:
    """Flush everything to disk."""
    return


def rank(value: Value) -> int:
  """Return 0 for a number, 3 for an image, 4 for a video.

  Raises:
    ValueError: for any other value.
  """
  array = np.asarray(value)
  if array.ndim == 0 and array.dtype.kind in 'iufb':
    return 0
  is_pixels = array.dtype == np.uint8 and array.shape[-1:] == (3,)
  if array.ndim in (3, 4) and is_pixels:
    return array.ndim
  raise ValueError(
    f'A result of dtype {array.dtype} and shape {array.shape} cannot be '
    'written; give a number, uint8[H,W,3] or uint8[T,H,W,3].'
  )


class JsonlWriter(Writer):
  """Appends one JSON object per step to a file: {"step": 10, "loss": 0.5}."""

  def __init__(self, path: epath.PathLike) -> None:
    """Set the path; the first write creates the file."""
    self._path = epath.Path(path)

  def rewind(self, step: int) -> None:
    """Remove the records after a step and an incomplete last line."""
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
    """Append the numbers; one that is not finite becomes null."""
    numbers = {
      name: float(value)
      for name, value in sorted(values.items())
      if rank(value) == 0
    }
    # JSON cannot represent infinity.
    record = {k: v if math.isfinite(v) else None for k, v in numbers.items()}
    if not record:
      return
    line = json.dumps({'step': step, **record}) + '\n'
    append(self._path, line)


class TensorBoardWriter(Writer):
  """Writes TensorBoard events, without TensorFlow."""

  def __init__(self, folder: epath.PathLike, *, fps: float = 8.0) -> None:
    """Set the folder and the frame rate of videos, in frames per second."""
    self._folder, self._fps = epath.Path(folder), fps
    self._events: tensorboardX.FileWriter | None = None

  def rewind(self, step: int) -> None:
    """Make TensorBoard hide the results of later steps in earlier files."""
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
    if rank(value) == 0:
      return Summary.Value(tag=name, simple_value=float(value))
    pixels = np.asarray(value)
    _, content = _encode(pixels, self._fps)
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
  """Writes images and videos as files: samples/<name>_<step>.png and .gif.

  A resumed run replaces the files of later steps.
  """

  def __init__(self, folder: epath.PathLike, *, fps: float = 8.0) -> None:
    """Set the folder and the frame rate of videos, in frames per second."""
    self._folder, self._fps = epath.Path(folder), fps

  def rewind(self, step: int) -> None:
    """Delete the unfinished files that a killed run left."""
    del step
    sweep_folder(self._folder)

  def write(self, step: int, values: Mapping[str, Value]) -> None:
    """Write images and videos, and ignore numbers."""
    for name, value in sorted(values.items()):
      if rank(value):
        suffix, content = _encode(np.asarray(value), self._fps)
        name = f'{name.replace("/", "_")}_{step:07d}.{suffix}'
        replace_file(self._folder / name, content)


class WandbWriter(Writer):
  """Sends numbers, images and videos to Weights & Biases.

  W&B cannot take back what it was sent, so `rewind` removes nothing. Instead
  `wandb.json` of the run directory keeps the id of the run, which a resumed run
  goes on with, and the last step of each result: one that comes again is not
  sent again. The results of a step that a kill interrupts may be missing, or
  be sent twice.
  """

  def __init__(
    self,
    workdir: epath.PathLike,
    *,
    config: WandbConfig,
    settings: Mapping[str, Any],
    fps: float = 8.0,
  ) -> None:
    """Set what `rewind` opens.

    Args:
      workdir: the run directory.
      config: names the project, the group and the run.
      settings: of the run, shown beside its results.
      fps: frame rate of videos, in frames per second.
    """
    self._workdir, self._config = epath.Path(workdir), config
    self._settings, self._fps = settings, fps
    self._run: Any = None
    self._id = secrets.token_hex(4)
    self._sent: dict[str, int] = {}

  def rewind(self, step: int) -> None:
    """Start the run, or go on with it; nothing is removed from it.

    Raises:
      UserError: W&B cannot be reached, or nobody is logged in.
    """
    del step
    if self._run is not None:
      return
    check_wandb(self._config)
    import wandb

    if self._kept.exists():
      content = json.loads(self._kept.read_text())
      self._id, self._sent = content['id'], content['sent']
    try:
      self._run = wandb.init(
        project=self._config.project,
        group=self._config.group or None,
        name=self._config.name or None,
        id=self._id,
        resume='allow',
        dir=None if is_remote(self._workdir) else os.fspath(self._workdir),
        config=dict(self._settings),
        settings=wandb.Settings(
          console='off', quiet=True, disable_git=True, disable_code=True
        ),
      )
    except wandb.errors.Error as error:
      raise UserError(
        f'wandb.project={self._config.project} cannot be opened ({error}); run '
        '`wandb login`, set WANDB_MODE=offline to send the results later with '
        '`wandb sync`, or leave wandb.project empty'
      ) from error
    # Steps of W&B's own are those of its calls, which are more.
    self._run.define_metric('step', hidden=True)
    self._run.define_metric('*', step_metric='step')

  def write(self, step: int, values: Mapping[str, Value]) -> None:
    """Send those results that were not sent at this step or a later one."""
    new = {
      name: self._entry(value)
      for name, value in values.items()
      if step > self._sent.get(name, -1)
    }
    if not new:
      return
    self._run.log({'step': step, **new})
    self._sent |= dict.fromkeys(new, step)
    content = {'id': self._id, 'sent': self._sent}
    replace_file(self._kept, json.dumps(content).encode())

  def close(self) -> None:
    """Wait until everything is sent."""
    if self._run is not None:
      self._run.finish()

  @property
  def _kept(self) -> epath.Path:
    return self._workdir / 'wandb.json'

  def _entry(self, value: Value) -> Any:
    import wandb

    kind = rank(value)
    if not kind:
      return float(value)
    if kind == 3:
      return wandb.Image(np.asarray(value))
    _, content = _encode(np.asarray(value), self._fps)
    return wandb.Video(io.BytesIO(content), format='gif')


def check_wandb(config: WandbConfig) -> None:
  """Check that W&B is installed if a project is named.

  Raises:
    UserError: it is not.
  """
  if config.project:
    check_extra(f'wandb.project={config.project}', 'wandb', extra='wandb')


def _encode(pixels: np.ndarray, fps: float) -> tuple[str, bytes]:
  """Return the suffix and the content of an image's or a video's file."""
  if pixels.ndim == 3:
    return 'png', encode_png(pixels)
  return 'gif', encode_gif(pixels, fps=min(fps, MAX_FPS))
