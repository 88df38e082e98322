import json
import tarfile

import numpy as np
import pyarrow.parquet as pq
import pytest

from phenaki_jax.layouts import img2dataset

SCORES = {
  'similarity': 0.3,
  'punsafe': 0.1,
  'pwatermark': 0.1,
  'AESTHETIC_SCORE': 5.0,
}


def images(number, **attributes):
  for index in range(number):
    frame = np.full((16, 24, 3), index, np.uint8)
    yield img2dataset.CaptionedImage(
      frame=frame, caption=f'image {index}', scores=SCORES, **attributes
    )


@pytest.mark.parametrize(('number', 'sizes'), [(0, []), (4, [4]), (5, [4, 1])])
def test_images_fill_shards(tmp_path, number, sizes):
  written = []
  paths = img2dataset.write_img2dataset(
    tmp_path,
    images(number),
    shard_size=4,
    on_written=lambda: written.append(1),
  )
  assert len(written) == number
  tables = [pq.read_table(path.with_suffix('.parquet')) for path in paths]
  assert [len(table) for table in tables] == sizes
  captions = [row for table in tables for row in table['caption'].to_pylist()]
  assert captions == [f'image {index}' for index in range(number)]


def test_facts_are_a_column_where_they_are_known(tmp_path):
  (path,) = img2dataset.write_img2dataset(tmp_path / 'without', images(1))
  table = pq.read_table(path.with_suffix('.parquet'))
  assert table.schema.equals(img2dataset.SCHEMA)
  facts = {'kind': 'orc', 'hair': None}
  (path,) = img2dataset.write_img2dataset(
    tmp_path / 'with', images(1, attributes=facts), suffix='png'
  )
  (row,) = pq.read_table(path.with_suffix('.parquet')).to_pylist()
  assert json.loads(row['attributes']) == facts
  with tarfile.open(path) as tar:
    assert tar.getnames() == [
      f'000000000.{end}' for end in ('png', 'json', 'txt')
    ]
