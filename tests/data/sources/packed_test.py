"""Records of a bucket: a failure of the network is no broken example."""

import dataclasses
import hashlib
import io
import struct
import zlib

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordWriter
from PIL import Image

from phenaki_jax.data import schema
from phenaki_jax.data.sources import packed
from phenaki_jax.files import remote
from phenaki_jax.media.png import encode_png

NAME = 'part-0.array_record'


FRAME = encode_png(np.zeros((8, 8, 3), np.uint8))


def write(tmp_path, made):
  """Write the content of a record as a file."""
  writer = ArrayRecordWriter(str(tmp_path / NAME), 'group_size:1')
  writer.write(made)
  writer.close()
  return made


@pytest.fixture
def content(tmp_path):
  return write(tmp_path, packed.pack([FRAME], {'key': 'a'}))


def record(path):
  return schema.Record(key='a', kind=schema.IMAGE, caption='x', path=path)


def test_a_bucket_that_fails_is_tried_again_and_stops_the_run(
  bucket, content, tmp_path, monkeypatch
):
  monkeypatch.setattr(remote, '_PAUSE', 0.0)
  (bucket / 'set' / NAME).write_bytes((tmp_path / NAME).read_bytes())
  copy, left = remote._local_copy, [1]

  def fails(text):
    left[0] -= 1
    if left[0] >= 0:
      raise OSError('reset')
    return copy(text)

  monkeypatch.setattr(remote, '_local_copy', fails)
  assert packed.PackedReader(bucket / 'set').read(record(NAME)) == content
  left[0] = 10**9
  with pytest.raises(ConnectionError, match='cannot be read: reset'):
    packed.PackedReader(bucket / 'set').read(record(NAME))


@pytest.mark.parametrize('is_remote', [False, True])
def test_missing_and_broken_files_are_faults_of_examples(
  bucket, tmp_path, is_remote
):
  folder = bucket / 'set' if is_remote else tmp_path
  (folder / 'bad.array_record').write_bytes(b'nothing')
  reader = packed.PackedReader(folder)
  for name, reason in (
    ('none.array_record', 'missing_file'),
    ('../a.txt', 'missing_file'),
    ('bad.array_record', 'broken_file'),
  ):
    with pytest.raises(schema.DecodeError) as caught:
      reader.read(record(name))
    assert caught.value.reason == reason


def tiff():
  target = io.BytesIO()
  Image.new('RGB', (8, 8)).save(target, 'TIFF')
  return target.getvalue()


def large_png():
  """Return a PNG whose header has 10,000 x 10,000 pixels."""
  header = b'IHDR' + struct.pack('>IIBBBBB', 10_000, 10_000, 8, 2, 0, 0, 0)
  start = FRAME.index(b'IHDR')
  check = struct.pack('>I', zlib.crc32(header))
  return FRAME[:start] + header + check + FRAME[start + len(header) + 4 :]


@pytest.mark.parametrize(
  ('made', 'reason'),
  [
    (packed.pack([tiff()], {}), 'tiff_not_supported'),
    (packed.pack([large_png()], {}), 'too_many_pixels'),
    (packed.pack([FRAME, FRAME[:-30]], {}), 'corrupt_png'),
    (packed.pack([], {}), 'broken_file'),
    (b'nothing', 'broken_file'),
  ],
)
def test_frames_are_decoded_as_other_images_are(tmp_path, made, reason):
  write(tmp_path, made)
  reader = packed.PackedReader(tmp_path)
  with pytest.raises(schema.DecodeError, match=reason):
    reader.examine(record(NAME))
  if reason != 'broken_file':
    info = schema.MediaInfo(content_hash=hashlib.sha256(made).hexdigest())
    one = dataclasses.replace(record(NAME), info=info)
    with pytest.raises(schema.DecodeError, match=reason):
      reader.timed(one, (8, 8))
