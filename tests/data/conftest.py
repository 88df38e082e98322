"""Makers of small real media: videos, images, and folders of both."""

import csv
import io
import json
import tarfile
from fractions import Fraction

import av
import av.filter
import av.video.reformatter
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image


def write_video(
  target,
  frames,
  *,
  times_ms=None,
  fps=8,
  container='mp4',
  codec='libx264',
  pix_fmt=None,
  options=None,
  setup=None,
  fields=None,
  sound=False,
  live=False,
):
  """Encode frames, evenly or at the given times in milliseconds.

  `setup` is called with the stream, `fields` is 'tff' or 'bff' for interlaced
  frames, `sound` adds silence, and `live` leaves out all lengths in a Matroska
  file.
  """
  defaults = {'libx264': {'crf': '4', 'g': '5'}, 'libvpx-vp9': {'crf': '10'}}
  with av.open(
    target, 'w', format=container, options={'live': '1'} if live else {}
  ) as file:
    stream = file.add_stream(
      codec, rate=fps, options=defaults.get(codec, {}) | (options or {})
    )
    stream.height, stream.width = frames[0].shape[:2]
    stream.pix_fmt = pix_fmt or ('rgb8' if codec == 'gif' else 'yuv420p')
    stream.codec_context.thread_count = 1
    if setup is not None:
      setup(stream)
    if sound:
      audio = file.add_stream('pcm_s16le', rate=8000)
      length = 8000 * len(frames) // fps
      silence = av.AudioFrame.from_ndarray(
        np.zeros((1, length), np.int16), format='s16', layout='mono'
      )
      silence.sample_rate, silence.pts = 8000, 0
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
      if fields is not None:
        frame = with_fields(frame, fields)
        frame.pts, frame.time_base = i, Fraction(1, fps)
      file.mux(stream.encode(frame))
    file.mux(stream.encode())
    if sound:
      file.mux(audio.encode(silence))
      file.mux(audio.encode())


def with_fields(frame, order):
  """Mark a frame as interlaced."""
  graph = av.filter.Graph()
  source = graph.add_buffer(
    width=frame.width,
    height=frame.height,
    format=frame.format,
    time_base=Fraction(1, 25),
  )
  graph.link_nodes(
    source, graph.add('setfield', order), graph.add('buffersink')
  ).configure()
  graph.push(frame)
  return graph.pull()


def video_bytes(frames, **options):
  """Return an encoded video."""
  target = io.BytesIO()
  write_video(target, frames, **options)
  return target.getvalue()


def yuv_bytes(
  values, height, width, *, matrix=2, transfer=2, aspect=1, count=3
):
  """Encode a flat colour, given as limited Y, Cb and Cr, with colour tags."""
  target = io.BytesIO()
  with av.open(target, 'w', format='matroska') as file:
    stream = file.add_stream('libx264', rate=8, options={'qp': '0'})
    stream.height, stream.width, stream.pix_fmt = height, width, 'yuv444p'
    context = stream.codec_context
    context.colorspace, context.color_trc = matrix, transfer
    context.color_range = 1
    context.sample_aspect_ratio = Fraction(aspect)
    for _ in range(count):
      planes = np.empty((3, height, width), np.uint8)
      planes[:] = np.reshape(np.round(values), (3, 1, 1))
      frame = av.VideoFrame.from_ndarray(planes, format='yuv444p')
      frame.colorspace, frame.color_trc, frame.color_range = matrix, transfer, 1
      file.mux(stream.encode(frame))
    file.mux(stream.encode())
  return target.getvalue()


def levels(values, height=32, width=32):
  """Return grey frames, one per value."""
  return [np.full((height, width, 3), v, np.uint8) for v in values]


def picture(level=128, height=48, width=64):
  """Return a red, green, blue and yellow picture with a grey middle."""
  pixels = np.zeros((height, width, 3), np.uint8)
  top, left = slice(height // 2), slice(width // 2)
  bottom, right = slice(height // 2, None), slice(width // 2, None)
  pixels[top, left], pixels[top, right] = (200, 30, 30), (30, 180, 30)
  pixels[bottom, left], pixels[bottom, right] = (30, 30, 200), (220, 220, 40)
  middle = slice(height // 4, height * 3 // 4)
  pixels[middle, width // 4 : width * 3 // 4] = level
  return pixels


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
  yuv_video = staticmethod(yuv_bytes)
  picture = staticmethod(picture)
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
