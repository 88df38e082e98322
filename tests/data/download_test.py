"""Tables of the web become shards that a build reads, with an exact account."""

import csv
import json
import os

import pyarrow
import pyarrow.parquet
import pytest

from phenaki_jax.data import build, download, filters
from phenaki_jax.data.public_fetch import FetchLimits
from phenaki_jax.data.sources import img2dataset
from phenaki_jax.errors import UserError

CONFIG = download.DownloadConfig(rows_per_shard=4, rate=1e6, workers=3)
LOCAL = FetchLimits(
  seconds=5.0, is_allowed=lambda address: address == '127.0.0.1'
)


def table_of(rows, path):
  pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
  return path


@pytest.fixture
def rows(web, good_images, good_clips):
  """Return 10 rows: 6 images, a clip, a missing file, a text, no address."""
  for i in range(6):
    (web.folder / f'{i}.jpg').write_bytes(good_images[i])
  (web.folder / 'clip.mp4').write_bytes(good_clips[0])
  (web.folder / 'page.html').write_text('<html>')
  names = [f'{i}.jpg' for i in range(6)]
  names += ['none.jpg', 'clip.mp4', 'page.html']
  found = [
    {'URL': f'{web.url}/{name}', 'TEXT': f'a {name}', 'punsafe': 0.1}
    for name in names
  ]
  return [*found, {'URL': None, 'TEXT': 'x', 'punsafe': 0.1}]


ACCOUNT = {
  'records': 10,
  'http_404': 1,
  'no_url': 1,
  'not_an_image_or_video': 1,
  'success': 7,
}


def test_a_table_becomes_shards_that_a_build_reads(rows, tmp_path):
  out = tmp_path / 'out'
  table = table_of(rows, tmp_path / 'part.parquet')
  found = download.download(table, out, CONFIG, limits=LOCAL)
  assert found == ACCOUNT
  assert json.loads((out / 'report.json').read_text()) == ACCOUNT
  (report,) = build.build(
    [lambda _: img2dataset.Img2Dataset(out)],
    tmp_path / 'm',
    filters=filters.FilterConfig(allow_missing=('pwatermark',)),
  )
  assert (report.records, report.clips, report.images) == (10, 1, 6)
  assert report.filtered == {'not_downloaded': 3} and not report.broken


def test_an_interrupted_download_goes_on(rows, tmp_path, web):
  """The second run asks for the files of the missing shard only."""
  out = tmp_path / 'out'
  table = table_of(rows, tmp_path / 'part.parquet')
  download.download(table, out, CONFIG, limits=LOCAL)
  kept = {name: (out / name).read_bytes() for name in os.listdir(out)}
  for name in ('00001.tar', '00001.parquet', 'report.json'):
    (out / name).unlink()
  for i in range(4):
    (web.folder / f'{i}.jpg').unlink()
  assert download.download(table, out, CONFIG, limits=LOCAL) == ACCOUNT
  assert {n: (out / n).read_bytes() for n in os.listdir(out)} == kept


def test_another_table_or_folder_is_refused(rows, tmp_path):
  out = tmp_path / 'out'
  download.download(
    table_of(rows[:2], tmp_path / 'a.parquet'), out, CONFIG, limits=LOCAL
  )
  with pytest.raises(UserError, match='begun from another table'):
    download.download(
      table_of(rows[:3], tmp_path / 'b.parquet'), out, CONFIG, limits=LOCAL
    )
  with pytest.raises(UserError, match='holds other files'):
    download.download(tmp_path / 'a.parquet', tmp_path, CONFIG, limits=LOCAL)


def test_a_csv_of_videos_is_read(rows, tmp_path):
  columns = ('videoid', 'contentUrl', 'duration', 'page_dir', 'name')
  with open(tmp_path / 'results.csv', 'w', newline='') as file:
    writer = csv.writer(file)
    writer.writerow(columns)
    writer.writerow(['1', rows[7]['URL'], 'PT1S', '0', 'a clip, in colour'])
    writer.writerow(['2', rows[6]['URL'], 'PT1S', '0', 'missing'])
    file.write('3,too,few\n')
  found = download.download(
    tmp_path / 'results.csv', tmp_path / 'out', CONFIG, limits=LOCAL
  )
  assert found == {
    'records': 3,
    'http_404': 1,
    'malformed_row': 1,
    'success': 1,
  }
  (table,) = (tmp_path / 'out').glob('*.parquet')
  assert pyarrow.parquet.read_table(table)['caption'].to_pylist() == [
    'a clip, in colour',
    'missing',
    '',
  ]


def test_local_addresses_are_not_read_without_the_switch_of_tests(
  rows, tmp_path
):
  table = table_of(rows[:3], tmp_path / 'a.parquet')
  found = download.download(table, tmp_path / 'out', CONFIG)
  assert found == {'records': 3, 'not_public': 3}


def test_requests_keep_the_rate(rows, tmp_path):
  config = download.DownloadConfig(rate=20.0, workers=4)
  start = download.time.monotonic()
  table = table_of(rows[:6], tmp_path / 'a.parquet')
  download.download(table, tmp_path / 'out', config, limits=LOCAL)
  assert download.time.monotonic() - start >= 5 / 20


@pytest.mark.parametrize(
  ('rows', 'name', 'message'),
  [
    ([{'TEXT': 'x'}], 'a.parquet', 'has the columns TEXT; a URL'),
    ([{'URL': 'x'}], 'a.parquet', 'and a caption'),
    ([{'URL': 'x'}], 'a.json', 'must end in .parquet or .csv'),
  ],
)
def test_a_table_without_addresses_is_refused(rows, name, message, tmp_path):
  path = table_of(rows, tmp_path / name)
  with pytest.raises(UserError, match=message):
    download.download(path, tmp_path / 'out', CONFIG)
  with pytest.raises(UserError, match=r'none.csv cannot be read'):
    download.download(tmp_path / 'none.csv', tmp_path / 'out', CONFIG)


def test_text_that_is_not_utf8_costs_its_own_row(rows, tmp_path):
  urls = [row['URL'].encode() for row in rows[:4]]
  texts = [b'a', b'\xff\xfe', b'c', b'd']
  urls[2] += b'\xff'
  columns = {'URL': urls, 'TEXT': texts}
  table = pyarrow.table(
    {
      name: pyarrow.StringArray.from_buffers(
        4, *pyarrow.array(values, pyarrow.binary()).buffers()[1:]
      )
      for name, values in columns.items()
    }
  )
  pyarrow.parquet.write_table(table, tmp_path / 'a.parquet')
  found = download.download(
    tmp_path / 'a.parquet', tmp_path / 'out', CONFIG, limits=LOCAL
  )
  assert found == {'records': 4, 'not_utf8': 2, 'success': 2}


def test_a_damaged_page_is_a_sentence(tmp_path):
  path = tmp_path / 'a.parquet'
  rows = [{'URL': f'http://127.0.0.2/{n}', 'TEXT': 'x'} for n in range(3000)]
  table_of(rows, path)
  data = bytearray(path.read_bytes())
  data[4:2000] = bytes(1996)
  path.write_bytes(data)
  with pytest.raises(UserError, match='cannot be read further .*fetch it'):
    download.download(path, tmp_path / 'out', CONFIG)
