"""Makers of small real media: videos, images, and folders of both."""

import csv
import io
import json
import tarfile
from fractions import Fraction

import av
import av.video.reformatter
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image


def write_video(
  target, frames, *, times_ms=None, fps=8, container='mp4', codec='libx264'
):
  """Encode frames, evenly or at the given times in milliseconds."""
  options = {'libx264': {'crf': '4', 'g': '5'}, 'libvpx-vp9': {'crf': '10'}}
  with av.open(target, 'w', format=container) as file:
    stream = file.add_stream(codec, rate=fps, options=options.get(codec, {}))
    stream.height, stream.width = frames[0].shape[:2]
    stream.pix_fmt = 'rgb8' if codec == 'gif' else 'yuv420p'
    stream.codec_context.thread_count = 1
    reformatter = av.video.reformatter.VideoReformatter()
    if times_ms is not None:
      stream.codec_context.time_base = Fraction(1, 1000)
    for i, pixels in enumerate(frames):
      frame = reformatter.reformat(
        av.VideoFrame.from_ndarray(pixels, format='rgb24'),
        format=stream.pix_fmt,
        threads=1,
      )
      if times_ms is not None:
        frame.pts, frame.time_base = times_ms[i], Fraction(1, 1000)
      file.mux(stream.encode(frame))
    file.mux(stream.encode())


def video_bytes(frames, **options):
  """Return an encoded video."""
  target = io.BytesIO()
  write_video(target, frames, **options)
  return target.getvalue()


def levels(values, height=32, width=32):
  """Return grey frames, one per value."""
  return [np.full((height, width, 3), v, np.uint8) for v in values]


def image_bytes(pixels, kind='PNG', **options):
  """Return an encoded image."""
  target = io.BytesIO()
  Image.fromarray(pixels).save(target, kind, **options)
  return target.getvalue()


def noise(seed, height=40, width=48):
  """Return an image that no other seed makes."""
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def write_webvid(folder, clips, *, columns=('videoid', 'page_dir', 'name')):
  """Write clips, a list of (bytes or None, caption), in the WebVid layout."""
  (folder / 'videos' / '000').mkdir(parents=True)
  with open(folder / 'results_train.csv', 'w', newline='') as file:
    table = csv.DictWriter(file, columns, extrasaction='ignore')
    table.writeheader()
    for i, (data, caption) in enumerate(clips):
      name = f'{i:04d}'
      table.writerow({'videoid': name, 'page_dir': '000', 'name': caption})
      if data is not None:
        (folder / 'videos' / '000' / f'{name}.mp4').write_bytes(data)
  return folder


def write_shard(folder, images, *, name='00000', drop=(), **scores):
  """Write images, a list of (bytes or None, caption, row), as a shard."""
  folder.mkdir(parents=True, exist_ok=True)
  rows = []
  with tarfile.open(folder / f'{name}.tar', 'w') as tar:
    for i, (data, caption, extra) in enumerate(images):
      key = f'{name}{i:04d}'
      row = {'key': key, 'caption': caption, 'status': 'success'}
      row |= {'punsafe': 0.1, 'pwatermark': 0.1} | scores | extra
      rows.append({k: v for k, v in row.items() if k not in drop})
      members = {'txt': caption.encode(), 'json': json.dumps(row).encode()}
      if data is not None:
        members = {'jpg': data} | members
      for extension, content in members.items():
        info = tarfile.TarInfo(f'{key}.{extension}')
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
  table = pyarrow.Table.from_pylist(rows)
  pyarrow.parquet.write_table(table, folder / f'{name}.parquet')
  return folder


class Media:
  """The makers above, for tests."""

  write_video = staticmethod(write_video)
  video = staticmethod(video_bytes)
  levels = staticmethod(levels)
  image = staticmethod(image_bytes)
  noise = staticmethod(noise)
  webvid = staticmethod(write_webvid)
  shard = staticmethod(write_shard)


@pytest.fixture(scope='session')
def media():
  return Media


@pytest.fixture(scope='session')
def good_clips():
  """Ten clips of 12 frames at 8 fps, each of its own."""
  return [
    video_bytes(
      [np.roll(noise(i, 32, 40) // 2, shift, axis=1) for shift in range(12)]
    )
    for i in range(10)
  ]


@pytest.fixture(scope='session')
def good_images():
  """Ten images, each of its own."""
  return [image_bytes(noise(100 + i), 'JPEG') for i in range(10)]
