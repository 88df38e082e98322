"""Write clips in the layout of WebVid."""

import csv
import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from etils import epath

from phenaki_jax.errors import UserError
from phenaki_jax.media.mp4 import write_mp4
from phenaki_jax.types import VideoU8

CSV_NAME = 'results_10M_train.csv'
COLUMNS = ('videoid', 'contentUrl', 'duration', 'page_dir', 'name')
_PAGE = 500  # clips per folder


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clip:
  """A clip, its caption, and its facts as JSON values, if they are known."""

  frames: VideoU8
  caption: str
  attributes: Mapping[str, Any] | None = None


def _page_dir(index):
  first = index // _PAGE * _PAGE
  return f'{first:06d}_{first + _PAGE - 1:06d}'


def _duration(seconds):
  seconds = max(1, round(seconds))
  hours, minutes = seconds // 3600, seconds // 60 % 60
  return f'PT{hours:02d}H{minutes:02d}M{seconds % 60:02d}S'


def write_video(
  path: epath.PathLike,
  frames: VideoU8,
  *,
  fps: int,
  notice: str,
  pixel_format: str = 'yuv420p',
) -> None:
  """Write an MP4 whose frames have the size of `frames`.

  Raises:
    UserError: a side is odd.
  """
  height, width = frames.shape[1:3]
  if height % 2 or width % 2:
    raise UserError(
      f'frames are {height}x{width}; H.264 needs even sides, so give an even '
      'size'
    )
  write_mp4(
    path,
    frames,
    fps=fps,
    provenance={'notice': notice},
    min_height=1,
    pixel_format=pixel_format,
  )


def write_webvid(
  out_dir: epath.PathLike,
  clips: Iterable[Clip],
  *,
  fps: int,
  first_id: int,
  notice: str,
  pixel_format: str = 'yuv420p',
  on_written: Callable[[], object] = lambda: None,
) -> pathlib.Path:
  """Write clips as `results_10M_train.csv` and `videos/<page_dir>/<id>.mp4`.

  The columns are videoid, contentUrl, duration (as in PT00H00M02S), page_dir
  and name (the caption). If clips have attributes, they are a sixth column.

  Args:
    out_dir: folder to write to; created if necessary.
    clips: the clips, with even sides.
    fps: frames per second.
    first_id: videoid of the first clip; the others follow.
    notice: says in each MP4 where it is from.
    pixel_format: of the MP4s, as of `Mp4Writer`.
    on_written: called after each clip.

  Returns:
    The path of the CSV file.

  Raises:
    UserError: a side is odd.
  """
  out_dir = pathlib.Path(out_dir)
  columns: tuple[str, ...] = COLUMNS
  rows = []
  for index, clip in enumerate(clips):
    video_id, page_dir = str(first_id + index), _page_dir(index)
    path = out_dir / 'videos' / page_dir / f'{video_id}.mp4'
    write_video(
      path, clip.frames, fps=fps, notice=notice, pixel_format=pixel_format
    )
    row = [
      video_id,
      f'https://example.invalid/{video_id}.mp4',
      _duration(len(clip.frames) / fps),
      page_dir,
      clip.caption,
    ]
    if clip.attributes is not None:
      columns = (*COLUMNS, 'attributes')
      row.append(json.dumps(clip.attributes))
    rows.append(row)
    on_written()
  out_dir.mkdir(parents=True, exist_ok=True)
  path = out_dir / CSV_NAME
  with open(path, 'w', newline='', encoding='utf-8') as file:
    writer = csv.writer(file, lineterminator='\n')
    writer.writerow(columns)
    writer.writerows(rows)
  return path
