"""The drawn worlds on disk, in the layouts of real data."""

import contextlib
import pathlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any

from phenaki_jax import lpc, progress, storyworld
from phenaki_jax.errors import UserError
from phenaki_jax.files.atomic import staged_folder


@contextlib.contextmanager
def _new_folder(
  out: str | pathlib.Path, total: int
) -> Iterator[tuple[pathlib.Path, Callable[[], object]]]:
  """Yield a folder that becomes `out`, and a callback for each example."""
  path = pathlib.Path(out).absolute()
  if path.exists() and (not path.is_dir() or any(path.iterdir())):
    raise UserError(f'{out} is not empty; name a new folder')
  if not total:
    raise UserError(
      'there is nothing to write; ask for at least one clip or image'
    )
  with (
    staged_folder(path) as folder,
    progress.bar(total=total, unit='example', desc=path.name) as bar,
  ):
    yield pathlib.Path(folder), bar.update


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
  with _new_folder(out, num_clips + num_images) as (folder, on_written):
    shared: dict[str, Any] = {
      'seed': seed,
      'subset': subset,
      'size': size,
      'on_written': on_written,
    }
    if num_clips:
      storyworld.write_webvid(
        folder / 'webvid', num_clips, frames=frames, fps=fps, **shared
      )
    if num_images:
      storyworld.write_img2dataset(folder / 'img2dataset', num_images, **shared)


def write_lpc(
  out: str | pathlib.Path,
  *,
  sheets: str | pathlib.Path,
  num_clips: int,
  num_images: int,
  num_stories: int,
  num_returns: int,
  seed: int,
  size: int,
  held_out: bool,
) -> None:
  """Write the sprite world to a folder of OUT for each layout, or nothing.

  The folders are webvid, img2dataset, stories and returns.

  The licence of the drawings and the list of the artists are put beside them.

  Args:
    out: new or empty folder.
    sheets: folder of the Liberated Pixel Cup sheets.
    num_clips: number of clips; 0 for none.
    num_images: number of images; 0 for none.
    num_stories: number of stories; 0 for none.
    num_returns: number of stories in which a character comes back; 0 for none.
    seed: of the sprite world.
    size: side of frames and images, in pixels.
    held_out: write only held-out combinations, instead of all others.

  Raises:
    UserError: the folder is not empty, all numbers are 0, a sheet is missing,
      or the size is below 64, or odd where there are clips or stories.
  """
  numbers = {
    'webvid': num_clips,
    'img2dataset': num_images,
    'stories': num_stories,
    'returns': num_returns,
  }
  world = lpc.World(
    sheets=lpc.Sheets(sheets), seed=seed, size=size, held_out=held_out
  )
  with _new_folder(out, sum(numbers.values())) as (folder, on_written):
    (folder / 'LICENSE.txt').write_text(lpc.LICENSE, encoding='utf-8')
    authors = pathlib.Path(sheets) / lpc.AUTHORS
    if authors.is_file():
      shutil.copyfile(authors, folder / lpc.AUTHORS)
    for name, number in numbers.items():
      if number:
        write = getattr(lpc, f'write_{name}')
        write(folder / name, number, world, on_written=on_written)
