import io
import operator
import os
import tarfile

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
  assert operator.length_hint(source) == 10
  found = list(source)
  assert len(found) == 10 and list(source) == found
  for i, record in enumerate(found):
    assert record.caption == f'image {i}' and record.kind == 'image'
    assert source.reader.read(record) == good_images[i]
    assert record.columns['punsafe'] == 0.1
  assert found[6].key == '00001/000010000'
  info = source.reader.examine(found[3])
  assert (info.width, info.height) == (48, 40)


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
  gone, failed, here = source
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
  (record,) = source
  assert record.kind == 'clip'
  assert source.reader.examine(record).num_frames == 12


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
  (record,) = source
  assert not record.path
  assert source.notes() == {'missing_tar': 1}


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


def write(folder, table, members, name='00000'):
  """Write a shard of a table and (name, bytes) members."""
  pyarrow.parquet.write_table(table, folder / f'{name}.parquet')
  with tarfile.open(folder / f'{name}.tar', 'w') as tar:
    for member, data in members:
      info = tarfile.TarInfo(member)
      info.size = len(data)
      tar.addfile(info, io.BytesIO(data))


def read(folder):
  """Return the captions or faults, what the members hold, and the notes."""
  source = img2dataset.Img2Dataset(folder)
  found = [
    (
      record.fault or record.caption,
      record.kind,
      source.reader.read(record) if record.path else None,
    )
    for record in source
  ]
  return found, source.notes()


@pytest.mark.parametrize(
  'key, member',
  [
    ('K', './K.jpg'),
    ('K', '00000/K.jpg'),
    ('K', './00000/./K.jpg'),
    ('00000/K', './00000//K.jpg'),
    ('K', 'K.input.jpg'),
    ('K', 'a/b/K.input.image.JPG'),
    ('K', 'K.avif'),
    ('K.v2', 'K.v2.jpg'),
  ],
)
def test_a_member_is_found_by_its_key(tmp_path, key, member):
  table = pyarrow.table({'key': [key, 'other'], 'caption': ['a', 'b']})
  write(tmp_path, table, [('other.png', b'2'), (member, b'1')])
  found, notes = read(tmp_path)
  assert found == [('a', 'image', b'1'), ('b', 'image', b'2')]
  assert not notes


def test_a_name_in_two_folders_of_a_tar_is_not_guessed(tmp_path):
  table = pyarrow.table({'key': ['K', 'a/K'], 'caption': ['one', 'two']})
  write(tmp_path, table, [('a/K.jpg', b'1'), ('b/K.jpg', b'2')])
  found, notes = read(tmp_path)
  assert found == [('one', 'image', None), ('two', 'image', b'1')]
  assert notes == {'media_without_row': 1}


def test_the_clip_of_a_key_is_used_and_other_media_are_counted(tmp_path):
  table = pyarrow.table({'key': ['1', '2'], 'caption': ['a', 'b']})
  members = [
    *(('1.jpg', b'still'), ('1.mp4', b'clip'), ('1.json', b'{}')),
    *(('2.input.jpg', b'long'), ('2.jpg', b'short'), ('2.png', b'png')),
    ('3.jpg', b'no row'),
  ]
  write(tmp_path, table, members)
  found, notes = read(tmp_path)
  assert found == [('a', 'clip', b'clip'), ('b', 'image', b'short')]
  assert notes == {
    'further_jpg_not_used': 2,
    'further_png_not_used': 1,
    'media_without_row': 1,
  }


@pytest.mark.parametrize(
  'column, expected, unused',
  [
    ([['one', 'two'], ['three'], []], ['one', 'three', ''], 1),
    ([b'one', 'deux é'.encode(), b''], ['one', 'deux é', ''], 0),
    ([b'one', b'caf\xe9', None], ['one', 'caption_not_utf8', ''], 0),
    ([float('nan'), None, 3.5], ['', '', 'caption_not_text'], 0),
    (
      pyarrow.array(['a', 'b', 'a']).dictionary_encode(),
      ['a', 'b', 'a'],
      0,
    ),
    (
      pyarrow.array([b'one', b'caf\xe9', b'two']).view(pyarrow.string()),
      ['one', 'caption_not_utf8', 'two'],
      0,
    ),
    (
      pyarrow.ListArray.from_arrays(
        [0, 1, 2, 3],
        pyarrow.array([b'one', b'caf\xe9', b'two']).view(pyarrow.string()),
      ),
      ['one', 'caption_not_utf8', 'two'],
      0,
    ),
  ],
)
def test_captions_of_any_type_are_read_or_counted(
  tmp_path, column, expected, unused
):
  table = pyarrow.table({'key': ['1', '2', '3'], 'caption': column})
  write(tmp_path, table, [(f'{i}.jpg', b'x') for i in range(1, 4)])
  source = img2dataset.Img2Dataset(tmp_path)
  found = list(source)
  assert [record.fault or record.caption for record in found] == expected
  for row, record in enumerate(found, 1):
    assert record.detail == (record.fault and f'00000.parquet, row {row}')
  notes = {'further_captions_not_used': unused} if unused else {}
  assert source.notes() == notes


def test_keys_that_are_missing_or_not_utf8_are_faults(tmp_path):
  keys = pyarrow.array([b'1', None, b'\xff']).view(pyarrow.string())
  table = pyarrow.table({'key': keys, 'caption': ['a', 'b', 'c']})
  write(tmp_path, table, [('1.jpg', b'x')])
  found, _ = read(tmp_path)
  assert [fault for fault, *_ in found] == ['a', 'missing_key', 'key_not_utf8']


@pytest.mark.parametrize('content', [b'', bytes(1024), bytes(10240)])
def test_a_shard_without_downloads_is_counted(tmp_path, content):
  good = pyarrow.table({'key': ['1'], 'caption': ['a']})
  write(tmp_path, good, [('1.jpg', b'x')])
  failed = pyarrow.table(
    {'key': ['2'], 'caption': ['b'], 'status': ['failed_to_download']}
  )
  pyarrow.parquet.write_table(failed, tmp_path / '00001.parquet')
  (tmp_path / '00001.tar').write_bytes(content)
  found, notes = read(tmp_path)
  assert [fault for fault, *_ in found] == ['a', 'not_downloaded']
  assert not notes


def test_a_tar_that_is_no_archive_costs_its_own_rows(tmp_path):
  table = pyarrow.table({'key': ['1'], 'caption': ['a']})
  write(tmp_path, table, [('1.jpg', b'x')])
  write(tmp_path, table, [], name='00001')
  (tmp_path / '00001.tar').write_bytes(b'<html></html>' * 100)
  found, notes = read(tmp_path)
  assert found == [('a', 'image', b'x'), ('a', 'image', None)]
  assert notes == {'damaged_archive': 1}


def test_tables_that_cannot_be_used_are_broken_records_among_others(tmp_path):
  good = pyarrow.table({'key': ['1', '2'], 'caption': ['a', 'b']})
  write(tmp_path, good, [('1.jpg', b'x'), ('2.jpg', b'y')])
  write(tmp_path, good, [('1.jpg', b'x'), ('2.jpg', b'y')], name='00001')
  (tmp_path / '00001.parquet').unlink()
  write(tmp_path, good.drop_columns('caption'), [], name='00002')
  (tmp_path / '00003.parquet').write_bytes(b'<html></html>')
  source = img2dataset.Img2Dataset(tmp_path)
  found = [(record.key, record.fault) for record in source]
  assert found == [
    *(('00000/1', ''), ('00000/2', '')),
    *(('00001/1', 'missing_table'), ('00001/2', 'missing_table')),
    *(('00002/row-1', 'missing_column'), ('00002/row-2', 'missing_column')),
    ('00003/row-1', 'unreadable_table'),
  ]
  assert all(record.detail for record in source if record.fault)


def test_a_shard_whose_name_is_not_utf8_is_a_broken_record(tmp_path):
  table = pyarrow.table({'key': ['1'], 'caption': ['a']})
  write(tmp_path, table, [('1.jpg', b'x')], name='good')
  write(tmp_path, table, [('1.jpg', b'x')], name='cafe')
  for suffix in ('.tar', '.parquet'):
    bad = os.fsencode(tmp_path) + b'/caf\xe9' + suffix.encode()
    os.rename(tmp_path / f'cafe{suffix}', bad)
  found = list(img2dataset.Img2Dataset(tmp_path))
  assert [record.fault for record in found] == ['unsafe_name', '']
  assert not any(record.path for record in found if record.fault)


def test_rows_after_damage_in_a_table_are_broken_records(tmp_path):
  size = 20_000
  table = pyarrow.table(
    {
      'key': [f'{i:06d}' for i in range(size)],
      'caption': [f'caption {i * 7919 % size}' for i in range(size)],
    }
  )
  path = tmp_path / '00000.parquet'
  options = {'compression': 'none', 'use_dictionary': False}
  pyarrow.parquet.write_table(
    table, path, row_group_size=5000, write_page_checksum=True, **options
  )
  data = bytearray(path.read_bytes())
  place = data.index(b'012500')
  data[place : place + 6] = b'......'
  path.write_bytes(data)
  found = list(img2dataset.Img2Dataset(tmp_path))
  assert len(found) == size
  broken = [record for record in found if record.fault]
  assert {record.fault for record in broken} == {'unreadable_table'}
  # A batch of rows is read as a whole.
  assert found[8000].caption == f'caption {8000 * 7919 % size}'
  assert size - 12_500 <= len(broken) <= size - 8_000
  assert broken == found[-len(broken) :]
  assert broken[0].detail.startswith('00000.parquet, row ')
