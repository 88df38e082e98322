"""The account adds up, captions fit a line, and strips are cut."""

import numpy as np
import pytest

from phenaki_jax.data import schema
from phenaki_jax.data.story_sets.story import (
  Account,
  Story,
  cut_strip,
  one_line,
  read_image,
)


def test_account_counts_by_split_and_reason():
  account = Account()
  for split in ('train', 'train', 'test'):
    account.keep(Story(id='s', split=split, captions=('a',), load=tuple))
  account.drop('train', 'x', 'missing_image', 'x.png')
  account.drop('train', 'y', 'missing_image')
  account.drop('val', 'z', 'missing_caption')
  assert account.to_dict() == {
    'train': {'stories': 4, 'kept': 2, 'left_out': {'missing_image': 2}},
    'val': {'stories': 1, 'kept': 0, 'left_out': {'missing_caption': 1}},
    'test': {'stories': 1, 'kept': 1, 'left_out': {}},
  }
  assert [line.strip() for line in account.lines()] == [
    '4 train stories',
    '-2 missing_image',
    '2 kept',
    '1 val stories',
    '-1 missing_caption',
    '0 kept',
    '1 test stories',
    '1 kept',
  ]
  assert [entry['id'] for entry in account.dropped] == ['x', 'y', 'z']
  assert account.dropped[0]['detail'] == 'x.png'


def test_captions_are_on_one_line():
  assert one_line(' a\tman\n\n walks  ') == 'a man walks'


def test_strips_are_cut_into_squares_or_a_number_of_frames():
  strip = np.arange(12 * 4 * 3, dtype=np.uint8).reshape(12, 4, 3)
  assert cut_strip(strip).shape == (3, 4, 4, 3)
  assert cut_strip(strip, 2).shape == (2, 6, 4, 3)
  np.testing.assert_array_equal(cut_strip(strip)[1], strip[4:8])
  for rows, frames in ((10, 0), (3, 0), (10, 3), (0, 0)):
    with pytest.raises(schema.DecodeError, match='uneven_strip'):
      cut_strip(strip[:rows], frames)


def test_images_that_cannot_be_used_say_why(tmp_path):
  with pytest.raises(schema.DecodeError, match='missing_image'):
    read_image(tmp_path / 'a.png')
  (tmp_path / 'a.png').write_bytes(b'text')
  with pytest.raises(schema.DecodeError, match='not_an_image'):
    read_image(tmp_path / 'a.png')
