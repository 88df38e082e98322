import dataclasses

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
