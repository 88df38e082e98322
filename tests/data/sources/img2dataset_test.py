import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from phenaki_jax.data.sources import base, img2dataset


def test_rows_of_all_shards_are_records(media, good_images, tmp_path):
  rows = [(data, f'image {i}', {}) for i, data in enumerate(good_images)]
  media.shard(tmp_path, rows[:6], name='00000')
  media.shard(tmp_path, rows[6:], name='00001')
  source = img2dataset.Img2Dataset(tmp_path)
  assert isinstance(source, base.Source)
  assert len(source) == 10
  for i in np.random.default_rng(0).permutation(10):
    record = source[int(i)]
    assert record.caption == f'image {i}' and record.kind == 'image'
    assert source.reader.read(record) == good_images[i]
    assert record.columns['punsafe'] == 0.1
  assert source[6].key == '00001/000010000'
  info = source.reader.examine(source[3])
  assert (info.width, info.height) == (48, 40)
  with pytest.raises(IndexError):
    source[10]


def test_rows_without_a_member_say_why(media, good_images, tmp_path):
  media.shard(
    tmp_path,
    [
      (None, 'gone', {}),
      (None, 'failed', {'status': 'failed_to_download'}),
      (good_images[0], 'here', {}),
    ],
  )
  source = img2dataset.Img2Dataset(tmp_path)
  gone, failed, here = (source[i] for i in range(3))
  assert not gone.fault and not gone.path
  with pytest.raises(ValueError, match='missing_file'):
    source.reader.examine(gone)
  assert failed.fault == 'not_downloaded'
  assert here.path == '00000.tar' and here.size == len(good_images[0])


def test_clips_in_a_tar_are_clips(good_clips, media, tmp_path):
  media.shard(tmp_path, [(good_clips[0], 'a clip', {})])
  tar = tmp_path / '00000.tar'
  tar.write_bytes(tar.read_bytes().replace(b'0000.jpg', b'0000.mp4'))
  data = bytearray(tar.read_bytes())
  header = data[:512]
  header[148:156] = b' ' * 8
  data[148:156] = b'%06o\0 ' % sum(header)
  tar.write_bytes(data)
  source = img2dataset.Img2Dataset(tmp_path)
  assert source[0].kind == 'clip'
  assert source.reader.examine(source[0]).num_frames == 12


@pytest.mark.parametrize('name', ['key', 'caption'])
def test_a_missing_column_is_named(media, good_images, tmp_path, name):
  media.shard(tmp_path, [(good_images[0], 'a', {})], drop=(name,))
  with pytest.raises(ValueError, match=f'no column {name!r}'):
    img2dataset.Img2Dataset(tmp_path)


def test_folders_without_shards_are_rejected(media, tmp_path):
  with pytest.raises(ValueError, match='holds no shards'):
    img2dataset.Img2Dataset(tmp_path)
  with pytest.raises(ValueError, match='there is no folder'):
    img2dataset.Img2Dataset(tmp_path / 'nowhere')
  (tmp_path / '00000.tar').write_bytes(b'')
  with pytest.raises(ValueError, match='has no 00000.parquet'):
    img2dataset.Img2Dataset(tmp_path)


def test_a_table_without_its_tar_is_noted(tmp_path):
  table = pyarrow.table({'key': ['1'], 'caption': ['a']})
  pyarrow.parquet.write_table(table, tmp_path / '00000.parquet')
  source = img2dataset.Img2Dataset(tmp_path)
  assert source.notes() == {'missing_tar': 1}
  assert not source[0].path


def test_a_table_that_is_no_parquet_is_rejected(tmp_path):
  (tmp_path / '00000.parquet').write_bytes(b'<html></html>' * 10)
  with pytest.raises(ValueError, match='cannot be read as parquet'):
    img2dataset.Img2Dataset(tmp_path)


def test_columns_are_those_of_every_shard(media, good_images, tmp_path):
  row = [(good_images[0], 'a', {})]
  media.shard(tmp_path, row, name='00000')
  media.shard(tmp_path, row, name='00001', drop=('punsafe',))
  columns = img2dataset.Img2Dataset(tmp_path).columns
  assert 'pwatermark' in columns and 'punsafe' not in columns
