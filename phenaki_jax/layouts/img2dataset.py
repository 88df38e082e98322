"""Write images in the layout of img2dataset, as LAION uses it."""

import dataclasses
import io
import itertools
import json
import pathlib
import tarfile
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath
from PIL import Image

from phenaki_jax.media.png import encode_png
from phenaki_jax.types import ImageU8

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
_ATTRIBUTES = pa.field('attributes', pa.string())
_QUALITY = 92


@dataclasses.dataclass(frozen=True, kw_only=True)
class CaptionedImage:
  """An image and its metadata.

  Attributes:
    frame: the image.
    caption: describes it.
    scores: similarity, punsafe, pwatermark and AESTHETIC_SCORE.
    attributes: its facts as JSON values, if they are known.
  """

  frame: ImageU8
  caption: str
  scores: Mapping[str, float]
  attributes: Mapping[str, Any] | None = None


def _encode_jpeg(frame):
  buffer = io.BytesIO()
  # Without chroma subsampling, which would blur thin coloured outlines.
  Image.fromarray(frame).save(buffer, 'JPEG', quality=_QUALITY, subsampling=0)
  return buffer.getvalue()


_ENCODERS = {'jpg': _encode_jpeg, 'png': encode_png}


def _record(key, image, suffix):
  height, width = image.frame.shape[:2]
  record = {
    'url': f'https://example.invalid/{key}.{suffix}',
    'caption': image.caption,
    'key': key,
    'status': 'success',
    'error_message': None,
    'width': width,
    'height': height,
    'original_width': width,
    'original_height': height,
    'exif': '{}',
    **image.scores,
    'LANGUAGE': 'en',
  }
  if image.attributes is not None:
    record['attributes'] = json.dumps(image.attributes)
  return record


def _write_shard(path, images, suffix, on_written):
  records, schema = [], SCHEMA
  with tarfile.open(path, 'w') as tar:
    for position, image in enumerate(images):
      key = f'{path.stem}{position:04d}'
      record = _record(key, image, suffix)
      members = {
        suffix: _ENCODERS[suffix](image.frame),
        'json': json.dumps(record).encode(),
        'txt': image.caption.encode(),
      }
      for end, data in members.items():
        member = tarfile.TarInfo(f'{key}.{end}')
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
      if image.attributes is not None:
        schema = SCHEMA.append(_ATTRIBUTES)
      records.append(record)
      on_written()
  table = pa.Table.from_pylist(records, schema=schema)
  pq.write_table(table, path.with_suffix('.parquet'))
  stats = {
    'count': len(records),
    'successes': len(records),
    'failed_to_download': 0,
    'failed_to_resize': 0,
  }
  path.with_name(f'{path.stem}_stats.json').write_text(
    json.dumps(stats), encoding='utf-8'
  )


def write_img2dataset(
  out_dir: epath.PathLike,
  images: Iterable[CaptionedImage],
  *,
  suffix: str = 'jpg',
  shard_size: int = 1000,
  on_written: Callable[[], object] = lambda: None,
) -> tuple[pathlib.Path, ...]:
  """Write images as shards `00000.tar`, `.parquet` and `_stats.json`.

  A tar file holds `<key>.jpg` (or `.png`), `.json` and `.txt` of each image.

  Args:
    out_dir: folder to write to; created if necessary.
    images: the images.
    suffix: 'jpg' or 'png'.
    shard_size: images per shard, from 1 to 10000.
    on_written: called after each image.

  Returns:
    The paths of the tar files.

  Raises:
    ValueError: `shard_size` is out of range.
  """
  if not 1 <= shard_size <= 10_000:
    raise ValueError(f'shard_size is {shard_size}, not 1 to 10000')
  out_dir = pathlib.Path(out_dir)
  out_dir.mkdir(parents=True, exist_ok=True)
  images = iter(images)
  paths: list[pathlib.Path] = []
  for first in images:
    shard = itertools.chain([first], itertools.islice(images, shard_size - 1))
    paths.append(out_dir / f'{len(paths):05d}.tar')
    _write_shard(paths[-1], shard, suffix, on_written)
  return tuple(paths)
