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
  assert len(source) == 2
  first, second = source[0], source[1]
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
  record = webvid.WebVid(folder)[0]
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
  assert [source[i].caption for i in range(len(source))] == ['a']
  assert source.notes() == {'csv_not_train': 1}


@pytest.mark.parametrize(
  'line, fault',
  [
    ('01,007', 'malformed_row'),
    ('01,007,red, green', 'malformed_row'),
    ('../../01,007,x', 'unsafe_name'),
    ('01,/etc,x', 'unsafe_name'),
    ('..,007,x', 'unsafe_name'),
    (',007,x', 'unsafe_name'),
  ],
)
def test_rows_that_cannot_be_used_say_why(tmp_path, line, fault):
  (tmp_path / 'a.csv').write_text(f'videoid,page_dir,name\n{line}\n')
  record = webvid.WebVid(tmp_path)[0]
  assert record.fault == fault and not record.path


def test_a_csv_that_cannot_be_read_names_the_line(tmp_path):
  path = tmp_path / 'a.csv'
  path.write_bytes(b'videoid,page_dir,name\n1,2,ok\n1,2,\xff\xfe\n')
  with pytest.raises(ValueError, match='a.csv, line .* as CSV'):
    webvid.WebVid(tmp_path)
