"""Write StoryWorld images in the layout of img2dataset, as LAION uses it."""

import io
import json
import pathlib
import tarfile
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath
from PIL import Image

from phenaki_jax.storyworld import example, renderer
from phenaki_jax.storyworld import subset as subset_lib

SCHEMA = pa.schema(
  [
    ('url', pa.string()),
    ('caption', pa.string()),
    ('key', pa.string()),
    ('status', pa.string()),
    ('error_message', pa.string()),
    ('width', pa.int64()),
    ('height', pa.int64()),
    ('original_width', pa.int64()),
    ('original_height', pa.int64()),
    ('exif', pa.string()),
    ('similarity', pa.float64()),
    ('punsafe', pa.float64()),
    ('pwatermark', pa.float64()),
    ('AESTHETIC_SCORE', pa.float64()),
    ('LANGUAGE', pa.string()),
  ]
)
_QUALITY = 92
_SCORE_RANGES = {
  'similarity': (0.3, 0.4),
  'punsafe': (0.0, 0.2),
  'pwatermark': (0.0, 0.3),
  'AESTHETIC_SCORE': (4.5, 6.5),
}


def _jpeg(frame):
  buffer = io.BytesIO()
  # Without chroma subsampling, which would blur thin coloured outlines.
  Image.fromarray(frame).save(buffer, 'JPEG', quality=_QUALITY, subsampling=0)
  return buffer.getvalue()


def _scores(seed, index):
  """Draw scores in the range of a clean, safe web image."""
  rng = np.random.default_rng((seed, 101, index))
  return {
    name: round(float(rng.uniform(low, high)), 4)
    for name, (low, high) in _SCORE_RANGES.items()
  }


def _add(tar, name, data):
  member = tarfile.TarInfo(name)
  member.size = len(data)
  tar.addfile(member, io.BytesIO(data))


def _write_shard(out_dir, shard, images, seed, on_written):
  records = []
  with tarfile.open(out_dir / f'{shard:05d}.tar', 'w') as tar:
    for position, (index, image) in enumerate(images):
      key = f'{shard:05d}{position:04d}'
      height, width = image.frame.shape[:2]
      record = {
        'url': f'https://example.invalid/{key}.jpg',
        'caption': image.caption,
        'key': key,
        'status': 'success',
        'error_message': None,
        'width': width,
        'height': height,
        'original_width': width,
        'original_height': height,
        'exif': '{}',
        **_scores(seed, index),
        'LANGUAGE': 'en',
      }
      _add(tar, f'{key}.jpg', _jpeg(image.frame))
      _add(tar, f'{key}.json', json.dumps(record).encode())
      _add(tar, f'{key}.txt', image.caption.encode())
      records.append(record)
      on_written()
  table = pa.Table.from_pylist(records, schema=SCHEMA)
  pq.write_table(table, out_dir / f'{shard:05d}.parquet')
  stats = {
    'count': len(records),
    'successes': len(records),
    'failed_to_download': 0,
    'failed_to_resize': 0,
  }
  path = out_dir / f'{shard:05d}_stats.json'
  path.write_text(json.dumps(stats), encoding='utf-8')


def write_img2dataset(
  out_dir: epath.PathLike,
  num_images: int,
  *,
  seed: int,
  subset: str | subset_lib.Subset,
  size: int | tuple[int, int],
  shard_size: int = 1000,
  split: str = 'train',
  on_written: Callable[[], object] = lambda: None,
) -> tuple[pathlib.Path, ...]:
  """Write images as shards `00000.tar`, `.parquet` and `_stats.json`.

  A tar file holds `<key>.jpg`, `.json` and `.txt` of each image. Scores
  (similarity, punsafe, pwatermark, AESTHETIC_SCORE) are random values that
  usual filters accept. Image i is `training_image(seed, i, ...)`.

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
  if not 1 <= shard_size <= 10_000:
    raise ValueError(f'shard_size is {shard_size}, not 1 to 10000')
  size = renderer.frame_size(size)
  out_dir = pathlib.Path(out_dir)
  out_dir.mkdir(parents=True, exist_ok=True)
  paths = []
  for shard, first in enumerate(range(0, num_images, shard_size)):
    last = min(first + shard_size, num_images)
    images = (
      (i, example.training_image(seed, i, subset, size=size, split=split))
      for i in range(first, last)
    )
    _write_shard(out_dir, shard, images, seed, on_written)
    paths.append(out_dir / f'{shard:05d}.tar')
  return tuple(paths)
