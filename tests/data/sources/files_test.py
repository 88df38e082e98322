import dataclasses
import os

import numpy as np
import pytest

from phenaki_jax.data import schema
from phenaki_jax.data.sources import base, files


def record(**fields):
  return schema.Record(
    **{'key': 'k', 'kind': 'image', 'caption': 'c', 'path': 'a', **fields}
  )


@pytest.fixture
def reader(good_images, tmp_path):
  (tmp_path / 'a').write_bytes(good_images[0])
  return files.FileReader(tmp_path)


def test_a_part_of_a_file_is_read_by_its_place(reader, good_images):
  assert isinstance(reader, base.Reader)
  assert reader.read(record()) == good_images[0]
  assert reader.read(record(offset=3, size=5)) == good_images[0][3:8]
  with pytest.raises(schema.DecodeError, match='truncated_file'):
    reader.read(record(offset=3, size=len(good_images[0])))


@pytest.mark.parametrize('path', ['', 'nothing', '../a', '/etc/passwd', 'a/b'])
def test_nothing_outside_the_folder_is_read(reader, path):
  with pytest.raises(schema.DecodeError, match='missing_file'):
    reader.read(record(path=path))


def test_a_record_that_is_too_large_is_refused_before_it_is_read(
  reader, monkeypatch
):
  monkeypatch.setattr(files, 'MAX_BYTES', 10)
  with pytest.raises(schema.DecodeError, match='too_large'):
    reader.read(record())


def test_every_changed_byte_is_noticed(reader, good_images, tmp_path):
  known = dataclasses.replace(record(), info=reader.examine(record()))
  assert reader.read(known) == good_images[0]
  for at in range(0, len(good_images[0]), 97):
    data = bytearray(good_images[0])
    data[at] ^= 1
    (tmp_path / 'a').write_bytes(data)
    with pytest.raises(schema.DecodeError, match='changed_file'):
      reader.read(known)


@pytest.mark.parametrize('offset', [0, 700])
def test_a_clip_is_read_whole_and_hashed_once(
  media, tmp_path, monkeypatch, offset
):
  data = media.video([media.noise(i, 64, 64) for i in range(80)])
  path = tmp_path / 'a'
  path.write_bytes(bytes(offset) + data + bytes(100))
  reader = files.FileReader(tmp_path)
  clip = record(kind='clip', offset=offset, size=len(data))
  clip = dataclasses.replace(clip, info=reader.examine(clip))
  hashed = []
  sha256 = files.hashlib.sha256
  monkeypatch.setattr(
    files.hashlib, 'sha256', lambda d: hashed.append(len(d)) or sha256(d)
  )
  request = schema.ExampleRequest(size=(64, 64), frames=5, fps=8.0, tubelet=2)
  request = dataclasses.replace(request, position=0.6)
  first = reader.example(clip, request).pixels
  assert hashed == [len(data)]
  read = []
  readinto = files.FilePart.readinto

  def counted(part, buffer):
    read.append(readinto(part, buffer))
    return read[-1]

  monkeypatch.setattr(files.FilePart, 'readinto', counted)
  for _ in range(3):
    np.testing.assert_array_equal(reader.example(clip, request).pixels, first)
  assert hashed == [len(data)]
  assert 0 < sum(read) / 3 < len(data) / 2
  # A changed file is noticed, and is read whole until it is right again.
  damaged = bytearray(path.read_bytes())
  damaged[offset + len(data) // 2] ^= 1
  path.write_bytes(damaged)
  os.utime(path, ns=(1, 1))
  for _ in range(2):
    with pytest.raises(schema.DecodeError, match='changed_file'):
      reader.example(clip, request)
  path.write_bytes(bytes(offset) + data)
  np.testing.assert_array_equal(reader.example(clip, request).pixels, first)
  path.unlink()
  with pytest.raises(schema.DecodeError, match='missing_file'):
    reader.example(clip, request)


def test_a_part_of_a_file_reads_like_a_file(tmp_path):
  content = bytes(range(100))
  (tmp_path / 'a').write_bytes(content)
  with open(tmp_path / 'a', 'rb') as file:
    part = files.FilePart(file, 10, 50)
    assert part.readable() and part.seekable()
    assert part.read(5) == content[10:15] and part.tell() == 5
    assert part.seek(-3, 2) == 47 and part.read(100) == content[57:60]
    assert part.read(1) == b'' and part.seek(60) == 60 and part.read(1) == b''
    assert part.seek(2) == 2 and part.seek(3, 1) == 5
    assert part.read() == content[15:60]


def test_a_clip_that_is_too_long_is_not_decoded_to_its_end(media, tmp_path):
  (tmp_path / 'a').write_bytes(media.video(media.levels([90] * 60)))
  reader = files.FileReader(tmp_path)
  info = reader.examine(record(kind='clip'), max_duration=3.0)
  assert info.duration == pytest.approx(7.5) and info.num_frames == 1
  assert reader.examine(record(kind='clip')).num_frames == 60


def test_a_short_clip_is_padded_with_its_last_frame(good_clips, tmp_path):
  (tmp_path / 'a').write_bytes(good_clips[0])  # 12 frames at 8 fps.
  reader = files.FileReader(tmp_path)
  clip = record(kind='clip')
  clip = dataclasses.replace(clip, info=reader.examine(clip))
  request = schema.ExampleRequest(size=(16, 16), frames=15, fps=8.0, tubelet=2)
  example = reader.example(clip, request)
  assert example.num_frames == 11 and example.pixels.shape == (15, 16, 16, 3)
  assert (example.pixels[11:] == example.pixels[10]).all()
  assert (example.pixels[9] != example.pixels[10]).any()
