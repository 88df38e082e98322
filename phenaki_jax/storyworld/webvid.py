"""Write StoryWorld clips in the layout of WebVid."""

import csv
import pathlib
from collections.abc import Callable

from etils import epath

from phenaki_jax.errors import UserError
from phenaki_jax.media.mp4 import write_mp4
from phenaki_jax.storyworld import example, renderer
from phenaki_jax.storyworld import scene as scene_lib
from phenaki_jax.storyworld import subset as subset_lib

CSV_NAME = 'results_10M_train.csv'
COLUMNS = ('videoid', 'contentUrl', 'duration', 'page_dir', 'name')
_FIRST_ID = 10_000_000
_PAGE = 500  # clips per folder


def _page_dir(index):
  first = index // _PAGE * _PAGE
  return f'{first:06d}_{first + _PAGE - 1:06d}'


def _duration(seconds):
  seconds = max(1, round(seconds))
  hours, minutes = seconds // 3600, seconds // 60 % 60
  return f'PT{hours:02d}H{minutes:02d}M{seconds % 60:02d}S'


def write_webvid(
  out_dir: epath.PathLike,
  num_clips: int,
  *,
  seed: int,
  subset: str | subset_lib.Subset,
  size: int | tuple[int, int],
  frames: int = 16,
  fps: int = int(scene_lib.REFERENCE_FPS),
  split: str = 'train',
  on_written: Callable[[], object] = lambda: None,
) -> pathlib.Path:
  """Write clips as `results_10M_train.csv` and `videos/<page_dir>/<id>.mp4`.

  The columns are videoid, contentUrl, duration (as in PT00H00M02S),
  page_dir and name (the caption). Clip i is `training_clip(seed, i, ...)`.

  Args:
    out_dir: folder to write to; created if necessary.
    num_clips: number of clips.
    seed: seed of the data set.
    subset: a name or a `Subset`.
    size: side in pixels, or (height, width); even.
    frames: number of frames of each clip.
    fps: frames per second, a whole number.
    split: 'train', 'heldout' or 'all'.
    on_written: called after each clip.

  Returns:
    The path of the CSV file.

  Raises:
    UserError: a side is odd, or as `training_clip`.
  """
  height, width = renderer.frame_size(size)
  if height % 2 or width % 2:
    raise UserError(
      f'frames are {height}x{width}; H.264 needs even sides, so give an even '
      'size'
    )
  out_dir = pathlib.Path(out_dir)
  out_dir.mkdir(parents=True, exist_ok=True)
  rows = []
  for index in range(num_clips):
    clip = example.training_clip(
      seed, index, subset, frames=frames, size=size, fps=fps, split=split
    )
    video_id, page_dir = str(_FIRST_ID + index), _page_dir(index)
    folder = out_dir / 'videos' / page_dir
    write_mp4(
      folder / f'{video_id}.mp4',
      clip.frames,
      fps=fps,
      provenance={'notice': 'rendered by StoryWorld'},
      min_height=1,
    )
    rows.append(
      (
        video_id,
        f'https://example.invalid/{video_id}.mp4',
        _duration(frames / fps),
        page_dir,
        clip.caption,
      )
    )
    on_written()
  path = out_dir / CSV_NAME
  with open(path, 'w', newline='', encoding='utf-8') as file:
    writer = csv.writer(file, lineterminator='\n')
    writer.writerow(COLUMNS)
    writer.writerows(rows)
  return path
