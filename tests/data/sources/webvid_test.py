import os
import re

import pytest

from phenaki_jax.data.sources import base, webvid


def test_rows_are_records_with_strings_kept_as_they_are(
  media, good_clips, tmp_path
):
  folder = media.webvid(
    tmp_path / 'w', [(good_clips[0], 'one, with a comma'), (None, 'two')]
  )
  source = webvid.WebVid(folder)
  assert isinstance(source, base.Source)
  first, second = source
  assert first.key == '000__0000' and first.kind == 'clip'
  assert first.caption == 'one, with a comma'
  assert source.reader.read(first) == good_clips[0]
  info = source.reader.examine(first)
  assert (info.width, info.height, info.num_frames) == (40, 32, 12)
  assert info.duration == pytest.approx(1.5)
  assert second.path == 'videos/000/0001.mp4'
  with pytest.raises(ValueError, match='missing_file'):
    source.reader.read(second)


@pytest.mark.parametrize('part', ['', 'part_3/'])
def test_videos_are_found_in_any_folder(media, tmp_path, part):
  folder = tmp_path / 'w'
  (folder / f'{part}007').mkdir(parents=True)
  (folder / 'a.csv').write_text('videoid,page_dir,name\n01,007,x\n')
  (folder / f'{part}007' / '01.mp4').write_bytes(b'video')
  (record,) = webvid.WebVid(folder)
  assert record.path == f'{part}007/01.mp4'


def test_a_missing_column_is_named(media, tmp_path):
  folder = media.webvid(tmp_path / 'w', [], columns=('videoid', 'name'))
  with pytest.raises(ValueError, match="no column 'page_dir'"):
    webvid.WebVid(folder)


def test_an_empty_or_missing_folder_is_rejected(tmp_path):
  with pytest.raises(ValueError, match='holds no CSV file'):
    webvid.WebVid(tmp_path)
  with pytest.raises(ValueError, match='there is no folder'):
    webvid.WebVid(tmp_path / 'nowhere')


def test_only_the_training_split_is_read(media, tmp_path):
  folder = media.webvid(tmp_path / 'w', [(None, 'a')])
  (folder / 'results_val.csv').write_text('videoid,page_dir,name\n1,2,b\n')
  source = webvid.WebVid(folder)
  assert [record.caption for record in source] == ['a']
  assert source.notes() == {'csv_not_train': 1}


@pytest.mark.parametrize(
  'line, fault',
  [
    (b'01,007', 'malformed_row'),
    (b'01,007,red, green', 'malformed_row'),
    (b'01,007,"red', 'malformed_quotes'),
    (b'01,007,caf\xe9', 'not_utf8'),
    (b'../../01,007,x', 'unsafe_name'),
    (b'01,/etc,x', 'unsafe_name'),
    (b'01,a\\b,x', 'unsafe_name'),
    (b'..,007,x', 'unsafe_name'),
    (b'01,..,x', 'unsafe_name'),
    (b'0\x001,007,x', 'unsafe_name'),
    (b',007,x', 'unsafe_name'),
  ],
)
def test_a_bad_row_names_file_and_line_and_the_others_are_read(
  tmp_path, line, fault
):
  lines = [b'videoid,page_dir,name', b'1,2,a', line, b'3,4,"b, c"', b'']
  (tmp_path / 'a.csv').write_bytes(b'\n'.join(lines))
  before, record, after = webvid.WebVid(tmp_path)
  assert record.fault == fault and not record.path
  assert record.detail.startswith('a.csv, line 3: ')
  assert (before.fault, before.caption) == ('', 'a')
  assert (after.fault, after.caption) == ('', 'b, c')
  for text in (record.key, record.detail):
    text.encode()


@pytest.mark.parametrize(
  'page', ['', ' ', 'my holiday clips', ' 007 ', 'a+b (1)', 'été']
)
@pytest.mark.parametrize('part', ['', 'videos', 'part_1'])
def test_any_plain_page_is_found(tmp_path, page, part):
  place = tmp_path / part / page.strip()
  place.mkdir(parents=True, exist_ok=True)
  (place / '01.mp4').write_bytes(b'video')
  table = f'videoid,page_dir,name\n01,{page},x\n'
  (tmp_path / 'a.csv').write_text(table, encoding='utf-8')
  source = webvid.WebVid(tmp_path)
  (record,) = source
  assert not record.fault
  assert source.reader.read(record) == b'video'


def test_a_page_may_be_in_several_folders(tmp_path):
  for part, video in (('a', '01'), ('b', '02'), ('videos', '03'), ('', '04')):
    (tmp_path / part / '007').mkdir(parents=True)
    (tmp_path / part / '007' / f'{video}.mp4').write_bytes(part.encode())
  rows = ''.join(f'0{i},007,x\n' for i in range(1, 6))
  (tmp_path / 'a.csv').write_text('videoid,page_dir,name\n' + rows)
  paths = [record.path for record in webvid.WebVid(tmp_path)]
  assert paths == [
    *('a/007/01.mp4', 'b/007/02.mp4', 'videos/007/03.mp4', '007/04.mp4'),
    'videos/007/05.mp4',  # which is missing
  ]


def test_each_folder_is_listed_once(tmp_path, monkeypatch):
  pages = [f'{i:03d}' for i in range(40)]
  for page in pages:
    (tmp_path / page).mkdir()
    (tmp_path / page / f'{page}.mp4').write_bytes(page.encode())
  rows = ''.join(f'{page},{page},x\n' for page in pages)
  (tmp_path / 'a.csv').write_text('videoid,page_dir,name\n' + rows)
  source = webvid.WebVid(tmp_path)
  calls = []

  def count(name, real):
    return lambda *args: calls.append(name) or real(*args)

  for module, name in ((os, 'scandir'), (os, 'stat'), (os.path, 'isfile')):
    monkeypatch.setattr(module, name, count(name, getattr(module, name)))
  paths = [record.path for record in source]
  monkeypatch.undo()
  assert paths == [f'{page}/{page}.mp4' for page in pages]
  # The folder itself is listed for its subfolders and as a place of pages.
  assert calls.count('scandir') == 42 and len(calls) < 60


def test_a_table_that_cannot_be_used_is_broken_rows_among_others(tmp_path):
  (tmp_path / 'a.csv').write_text('videoid,page_dir,title\n1,2,x\n3,4,y\n')
  (tmp_path / 'b.csv').write_text('videoid,page_dir,name\n5,6,z\n')
  (tmp_path / 'c.csv').write_text('')
  (tmp_path / 'd.csv').mkdir()
  source = webvid.WebVid(tmp_path)
  first, second, third, last = source
  assert first.fault == second.fault == 'missing_column'
  assert re.match("a.csv, line 3: .* has no column 'name';", second.detail)
  assert (third.fault, third.caption) == ('', 'z')
  assert last.fault == 'unreadable_table' and 'd.csv' in last.detail
  assert source.columns == {'videoid', 'page_dir', 'name'}


def test_a_repeated_column_is_rejected(tmp_path):
  (tmp_path / 'a.csv').write_text('videoid,page_dir,name,name\n1,2,x,y\n')
  with pytest.raises(ValueError, match="has 2 columns 'name'"):
    webvid.WebVid(tmp_path)


def test_a_binary_file_is_rejected_in_printable_words(tmp_path):
  (tmp_path / 'a.csv').write_bytes(bytes(range(256)))
  with pytest.raises(ValueError, match='not UTF-8') as caught:
    webvid.WebVid(tmp_path)
  assert str(caught.value).isprintable()
