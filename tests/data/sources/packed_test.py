"""Records of a bucket: a failure of the network is no broken example."""

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordWriter

from phenaki_jax.data import schema
from phenaki_jax.data.sources import packed
from phenaki_jax.files import remote
from phenaki_jax.media.png import encode_png

NAME = 'part-0.array_record'


@pytest.fixture
def content(tmp_path):
  frame = encode_png(np.zeros((8, 8, 3), np.uint8))
  made = packed.pack([frame], {'key': 'a'})
  writer = ArrayRecordWriter(str(tmp_path / NAME), 'group_size:1')
  writer.write(made)
  writer.close()
  return made


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
