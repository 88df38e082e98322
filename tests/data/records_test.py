import dataclasses
import hashlib
import json

import numpy as np
import pyarrow
import pytest

from phenaki_jax.data import records, schema


def make(i):
  return schema.Record(
    key=f'é{i}',
    kind=schema.IMAGE if i % 3 else schema.CLIP,
    caption=f'caption {i}',
    path=f'{i}.tar',
    offset=i * 2**33,
    size=i,
    info=schema.MediaInfo(
      content_hash=hashlib.sha256(bytes([i])).hexdigest(),
      width=64,
      height=48,
      num_frames=i + 1,
      duration=i / 8,
    ),
  )


@pytest.fixture(params=[0, 1, 7, 8, 9, 20])
def written(request, tmp_path, monkeypatch):
  """Return records, the table of them and its hash; 8 rows are a batch."""
  monkeypatch.setattr(records, '_BATCH', 8)
  found = [make(i) for i in range(request.param)]
  with records.RecordWriter(tmp_path / 'records') as writer:
    for i, record in enumerate(found):
      padded = dataclasses.replace(record, caption=f' {record.caption}\n')
      writer.add(i % 2, padded, record.info)
  assert writer.count == len(found)
  table = records.RecordTable(tmp_path / 'records')
  return found, table, writer.content_hash()


def test_records_are_read_as_they_were_written(written):
  found, table, _ = written
  assert len(table) == len(found)
  assert [table[i] for i in range(len(found))] == found
  pairs = [(i % 2, record) for i, record in enumerate(found)]
  assert list(table.records()) == pairs
  assert [table.value('caption', i) for i in range(len(found))] == [
    record.caption for record in found
  ]
  for row in (-1, len(found)):
    with pytest.raises(IndexError):
      table[row]


def test_columns_are_arrays(written):
  found, table, _ = written
  np.testing.assert_array_equal(
    table.of_kind(schema.CLIP), [r.kind == schema.CLIP for r in found]
  )
  np.testing.assert_array_equal(
    table.hash_prefixes(), [int(r.info.content_hash[:8], 16) for r in found]
  )


def test_hash_is_that_of_the_content_in_order(written):
  found, table, content_hash = written
  digest = hashlib.sha256()
  for record in found:
    info = record.info
    values = [record.kind, record.key, record.caption, info.content_hash]
    line = json.dumps([*values, info.num_frames, info.duration])
    digest.update(line.encode() + b'\n')
  assert content_hash == table.content_hash() == digest.hexdigest()


def test_older_tables_without_spans_are_read(tmp_path, monkeypatch):
  found = [make(i) for i in range(3)]
  columns = records.COLUMNS
  older = pyarrow.schema(
    [field for field in columns if field.name not in records._SPAN]
  )
  monkeypatch.setattr(records, 'COLUMNS', older)
  with records.RecordWriter(tmp_path / 'records') as writer:
    for record in found:
      writer.add(0, record, record.info)
  monkeypatch.setattr(records, 'COLUMNS', columns)
  table = records.RecordTable(tmp_path / 'records')
  assert [table[i] for i in range(3)] == found
  assert [record for _, record in table.records()] == found
  assert table.content_hash() == writer.content_hash()
  assert table.of_kind(schema.CLIP).tolist() == [True, False, False]


def test_the_span_of_a_scene_is_stored_and_hashed(tmp_path):
  hashes = set()
  for span in ((0, 0), (0, 5), (2, 5), (2, 6)):
    record = dataclasses.replace(
      make(1), start_frame=span[0], end_frame=span[1]
    )
    path = tmp_path / f'{span}'
    with records.RecordWriter(path) as writer:
      writer.add(0, record, record.info)
    table = records.RecordTable(path)
    assert table[0] == record
    assert table.content_hash() == writer.content_hash()
    hashes.add(writer.content_hash())
  assert len(hashes) == 4
