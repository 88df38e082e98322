"""Images and clips that stories start from and that `phenaki edit` changes."""

import dataclasses
import fractions
import logging
import os
import pathlib

import numpy as np

from phenaki_jax.data import image, schema, transforms, video
from phenaki_jax.errors import NotFoundError, UserError
from phenaki_jax.files.paths import local_path
from phenaki_jax.media.provenance import NOTICE, read_provenance
from phenaki_jax.stories.story import Story
from phenaki_jax.types import VideoU8

_log = logging.getLogger(__name__)

IMAGES = ('.png', '.jpg', '.jpeg', '.webp')
WEIGHTS = '.safetensors'
_ADVICE = 'give a PNG, JPEG or WebP image, or a clip such as an MP4'


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Footage:
  """Frames, and how many of them are shown in a second.

  Attributes:
    frames: uint8 [T, H, W, 3].
    fps: frames per second.
  """

  frames: VideoU8
  fps: float | int


def find(path: str | os.PathLike[str]) -> pathlib.Path:
  """Return the path of an image or a clip.

  Raises:
    NotFoundError: there is no such file.
    UserError: it is remote, may not be read, or is a picture or an array that
      cannot be decoded. Clips are decoded later, because they may be long.
  """
  path = local_path(path, 'the image or clip')
  if not path.is_file():
    raise NotFoundError(f'there is no image or clip {path}; check the path')
  try:
    if path.suffix.lower() in IMAGES:
      image.decode(path.read_bytes())
    elif path.suffix.lower() == '.npy':
      np.load(path, mmap_mode='r', allow_pickle=False)
    else:
      path.open('rb').close()
  except (OSError, ValueError, EOFError) as error:
    raise UserError(f'{path} cannot be read ({error}); {_ADVICE}') from error
  return path


def is_footage(text: str) -> bool:
  """Return whether a text names an image or a clip, and is no prompt."""
  return text.lower().endswith((*IMAGES, '.npy', '.mp4'))


def find_maps(path: str | os.PathLike[str]) -> list[pathlib.Path]:
  """Return the file of depth, or the pictures of a folder by their names.

  Raises:
    NotFoundError: there is no such file.
    UserError: it is remote, or the folder holds no pictures.
  """
  path = local_path(path, '--depth')
  if path.suffix == WEIGHTS and not path.is_file():
    raise NotFoundError(
      f'--depth is {path}, which does not exist; name the file of the weights '
      'of DPT, model.safetensors of Intel/dpt-large'
    )
  if not path.is_dir():
    return [find(path)]
  parts = sorted(one for one in path.iterdir() if one.suffix.lower() in IMAGES)
  if not parts:
    raise UserError(f'{path} holds no pictures; give one for each frame')
  return parts


def read_footage(
  path: str | os.PathLike[str],
  *,
  size: tuple[int, int] | None,
  fps: float | int,
) -> VideoU8:
  """Read an image, as one frame, or all frames of a clip.

  Args:
    path: ends in .png, .jpg, .jpeg or .webp for an image, or in .npy for
      frames, uint8 [T, H, W, 3], which are taken as they are; any other file is
      read as a clip.
    size: height and width to which the frames are scaled, and cropped around
      their centre; None for their own size.
    fps: frames per second at which a clip is read.

  Raises:
    NotFoundError: there is no such file.
    UserError: it is remote, or cannot be decoded.
  """
  found = _read(path, size)
  if isinstance(found, np.ndarray):
    return found
  clip, duration = found
  count = max(1, int(np.ceil(duration * fps - 1e-6)))
  return clip.at(np.arange(count) / fps)


def read_own_rate(
  path: str | os.PathLike[str],
  *,
  size: tuple[int, int] | None,
  fps: float | int,
) -> Footage:
  """Read each frame of a clip once, and its frame rate.

  Args:
    path: see `read_footage`.
    size: see `read_footage`.
    fps: frames per second of what has no frame rate: an image, an .npy, or a
      clip of one frame.

  Returns:
    All frames, and their mean number per second.

  Raises:
    NotFoundError, UserError: see `read_footage`.
  """
  found = _read(path, size)
  if isinstance(found, np.ndarray):
    return Footage(frames=found, fps=fps)
  frames, times = found[0].frames, found[0].times
  if len(frames) > 1:
    # Rounded as in films, so that rates that are equal compare so.
    mean = fractions.Fraction((len(frames) - 1) / float(times[-1]))
    fps = float(mean.limit_denominator(1001))
  return Footage(frames=frames, fps=fps)


def _read(
  path: str | os.PathLike[str], size: tuple[int, int] | None
) -> VideoU8 | tuple[video.TimedFrames, float]:
  """Return the frames of an image or array; or a clip and its seconds."""
  path = find(path)
  if path.suffix.lower() == '.npy':
    return _read_array(path)
  data = path.read_bytes()
  try:
    if path.suffix.lower() in IMAGES:
      picture = image.decode(data)
      own = (picture.height, picture.width)
      return transforms.fit(picture, size or own)[None]
    if _is_generated(path):
      _log.warning(
        '%s is a generated film; the model sees its label %r, too, if it has '
        'one: give the frames without it, a .npy or a .png file, where you '
        'have them',
        path,
        NOTICE,
      )
    info = video.examine(data)
    size = size or (info.height, info.width)
    return video.decode(data, size=size), info.duration
  except schema.DecodeError as error:
    raise UserError(f'{path} cannot be read ({error}); {_ADVICE}') from error


def _is_generated(path: pathlib.Path) -> bool:
  """Return whether a clip is a film that says that it is generated."""
  if path.suffix != '.mp4':
    return False
  try:
    return read_provenance(path).get('notice') == NOTICE
  except UserError:
    return False


def _read_array(path: pathlib.Path) -> VideoU8:
  frames = np.load(path, allow_pickle=False)
  shape = frames.shape
  if (
    frames.dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or not shape[0]
  ):
    raise UserError(
      f'{path} holds {frames.dtype} {list(shape)}; it must hold frames, uint8 '
      '[T, H, W, 3]'
    )
  return frames


def read_starts(story: Story) -> dict[int, VideoU8]:
  """Read what the scenes of a resolved story start from, by their number.

  Raises:
    NotFoundError, UserError: see `read_footage`.
  """
  assert story.size is not None and story.fps is not None
  return {
    number: read_footage(scene.start, size=story.size, fps=story.fps)
    for number, scene in enumerate(story.scenes)
    if scene.start is not None
  }
