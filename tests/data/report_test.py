import json

import pytest

from phenaki_jax.data import report


def make(records):
  return report.SourceReport(
    layout='webvid',
    folder='/data',
    records=records,
    clips=3,
    images=0,
    filtered={'too_short': 2},
    broken={'missing_file': 5},
    notes={'csv': 1},
  )


def test_a_report_adds_up():
  found = make(10)
  assert found.kept == 3 and found.broken_share == 0.5
  content = json.loads(json.dumps(found.to_dict()))
  assert content['kept'] == 3 and content['broken'] == {'missing_file': 5}
  text = '\n'.join(found.lines())
  for words in ('10 records', '-2 too_short', '-5 missing_file', '3 kept'):
    assert words in text


def test_a_report_that_loses_a_record_is_an_error():
  with pytest.raises(AssertionError):
    make(11)
