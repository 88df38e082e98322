"""Write StoryWorld in the layouts of WebVid and img2dataset."""

import pathlib
from collections.abc import Callable

import numpy as np
from etils import epath

from phenaki_jax.layouts import img2dataset, webvid
from phenaki_jax.storyworld import example, renderer
from phenaki_jax.storyworld import scene as scene_lib
from phenaki_jax.storyworld import subset as subset_lib
from phenaki_jax.types import Split

_FIRST_ID = 10_000_000
# Scores in the range of a clean, safe web image.
_SCORE_RANGES = {
  'similarity': (0.3, 0.4),
  'punsafe': (0.0, 0.2),
  'pwatermark': (0.0, 0.3),
  'AESTHETIC_SCORE': (4.5, 6.5),
}


def write_webvid(
  out_dir: epath.PathLike,
  num_clips: int,
  *,
  seed: int,
  subset: str | subset_lib.Subset,
  size: int | tuple[int, int],
  frames: int = 16,
  fps: int = int(scene_lib.REFERENCE_FPS),
  split: Split = 'train',
  on_written: Callable[[], object] = lambda: None,
) -> pathlib.Path:
  """Write clips in the WebVid layout; clip i is `training_clip(seed, i, ...)`.

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
  clips = (
    example.training_clip(
      seed, index, subset, frames=frames, size=size, fps=fps, split=split
    )
    for index in range(num_clips)
  )
  return webvid.write_webvid(
    out_dir,
    (webvid.Clip(frames=clip.frames, caption=clip.caption) for clip in clips),
    fps=fps,
    first_id=_FIRST_ID,
    notice='rendered by StoryWorld',
    on_written=on_written,
  )


def _scores(seed, index):
  rng = np.random.default_rng((seed, 101, index))
  return {
    name: round(float(rng.uniform(low, high)), 4)
    for name, (low, high) in _SCORE_RANGES.items()
  }


def write_img2dataset(
  out_dir: epath.PathLike,
  num_images: int,
  *,
  seed: int,
  subset: str | subset_lib.Subset,
  size: int | tuple[int, int],
  shard_size: int = 1000,
  split: Split = 'train',
  on_written: Callable[[], object] = lambda: None,
) -> tuple[pathlib.Path, ...]:
  """Write images in the img2dataset layout.

  Image i is `training_image(seed, i, ...)`. Its scores are random values that
  usual filters accept.

  Args:
    out_dir: folder to write to; created if necessary.
    num_images: number of images.
    seed: seed of the data set.
    subset: a name or a `Subset`.
    size: side in pixels, or (height, width).
    shard_size: images per shard, from 1 to 10000.
    split: 'train', 'heldout' or 'all'.
    on_written: called after each image.

  Returns:
    The paths of the tar files.

  Raises:
    ValueError: `shard_size` is out of range.
    UserError: as `training_image`.
  """
  size = renderer.frame_size(size)

  def image(index):
    drawn = example.training_image(seed, index, subset, size=size, split=split)
    return img2dataset.CaptionedImage(
      frame=drawn.frame, caption=drawn.caption, scores=_scores(seed, index)
    )

  return img2dataset.write_img2dataset(
    out_dir,
    map(image, range(num_images)),
    shard_size=shard_size,
    on_written=on_written,
  )
