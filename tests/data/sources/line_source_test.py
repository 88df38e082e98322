"""Sources of JSON Lines bound what they read at once."""

import json

import pytest

from phenaki_jax.data.sources import line_source
from phenaki_jax.data.sources.jsonl import JsonLines
from phenaki_jax.data.sources.stories import Stories


@pytest.mark.parametrize('layout', [JsonLines, Stories])
def test_an_endless_line_is_cut_into_broken_records(tmp_path, layout):
  text = '{' + 'x' * (2 * line_source.MAX_LINE)
  (tmp_path / 'all.jsonl').write_text(text)
  records = list(layout(tmp_path))
  assert [record.fault for record in records] == ['malformed_row'] * 3


@pytest.mark.parametrize('layout', [JsonLines, Stories])
def test_files_of_a_training_split_are_read_alone(tmp_path, layout):
  (tmp_path / 'my_train.jsonl').write_text(json.dumps(1) + '\n\n')
  (tmp_path / 'my_test.jsonl').write_text('')
  source = layout(tmp_path)
  assert [path.name for path in source.tables] == ['my_train.jsonl']
  assert source.notes() == {'jsonl_not_train': 1}
  (record,) = source
  assert record.key == 'my_train.jsonl:1'
