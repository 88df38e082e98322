"""StoryWorld on disk, in the layouts of real data."""

import pathlib

from phenaki_jax import progress, storyworld
from phenaki_jax.errors import UserError
from phenaki_jax.files.atomic import staged_folder


def write_storyworld(
  out: str | pathlib.Path,
  *,
  num_clips: int,
  num_images: int,
  subset: str,
  seed: int,
  size: int,
  frames: int,
  fps: int,
) -> None:
  """Write clips to OUT/webvid and images to OUT/img2dataset, or nothing.

  Args:
    out: new or empty folder.
    num_clips: number of clips; 0 for none.
    num_images: number of images; 0 for none.
    subset: part of StoryWorld.
    seed: of StoryWorld.
    size: side of frames and images, in pixels.
    frames: number of frames of a clip.
    fps: frames per second.

  Raises:
    UserError: the folder is not empty, or both numbers are 0.
  """
  path = pathlib.Path(out).absolute()
  if path.exists() and (not path.is_dir() or any(path.iterdir())):
    raise UserError(f'{out} is not empty; name a new folder')
  if not num_clips + num_images:
    raise UserError('0 clips and 0 images leave nothing to write')
  with (
    staged_folder(path) as folder,
    progress.bar(
      total=num_clips + num_images, unit='example', desc=path.name
    ) as bar,
  ):
    shared = {
      'seed': seed,
      'subset': subset,
      'size': size,
      'on_written': bar.update,
    }
    if num_clips:
      storyworld.write_webvid(
        folder / 'webvid', num_clips, frames=frames, fps=fps, **shared
      )
    if num_images:
      storyworld.write_img2dataset(folder / 'img2dataset', num_images, **shared)
