import json

import pytest

from phenaki_jax.data import report


def account(records):
  tally = report.Tally()
  tally.kept.update(clip=3)
  tally.filtered['too_short'] += 2
  tally.broken['missing_file'] += 5
  return tally.account(
    layout='webvid', folder='/data', records=records, notes={'csv': 1}
  )


def test_an_account_adds_up():
  found = account(10)
  assert found.kept == 3 and found.broken_share == 0.5
  content = json.loads(json.dumps(found.to_dict()))
  assert content['kept'] == 3 and content['broken'] == {'missing_file': 5}
  text = '\n'.join(found.lines())
  for words in ('10 records', '-2 too_short', '-5 missing_file', '3 kept'):
    assert words in text


def test_an_account_that_loses_a_record_is_never_closed():
  with pytest.raises(AssertionError):
    account(11)
