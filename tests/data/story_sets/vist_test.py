"""VIST: photographs in the order of the story, with either kind of text."""

import numpy as np
import pytest

from phenaki_jax.data.story_sets.story import Account, StorySet
from phenaki_jax.data.story_sets.vist import Vist
from phenaki_jax.errors import UserError

KEPT = {'10': range(1, 6), '20': range(11, 16), '30': range(21, 26)}


def read(folder, texts):
  account = Account()
  stories = Vist(folder, texts)
  assert isinstance(stories, StorySet)
  assert stories.name == f'vist-{texts}'
  return list(stories.stories(account)), account


def test_sentences_are_in_the_order_that_workers_arranged(releases):
  made = releases.vist
  found, account = read(made.folder, 'sis')
  numbers = KEPT | {'13': (1, 2, 3, 4, 80)}
  order = ['10', '13', '20', '30']
  assert [story.id for story in found] == order
  assert [story.split for story in found] == ['train', 'train', 'val', 'test']
  assert account.left_out == {
    ('train', 'not_five_scenes'): 1,
    ('train', 'missing_image'): 1,
  }
  for story in found:
    assert story.captions == tuple(
      f'Then [male] saw {n} | twice.' for n in numbers[story.id]
    )
    for frames, n in zip(story.scenes(), numbers[story.id], strict=True):
      # JPEG changes colours a little.
      photo = made.photos[str(7000 + n)].astype(int)
      assert np.abs(frames[0] - photo).max() < 40
      assert np.abs(frames[0] - photo).mean() < 4


def test_descriptions_are_the_longest_of_each_photograph(releases):
  found, account = read(releases.vist.folder, 'dii')
  assert [story.id for story in found] == list(KEPT)
  for story in found:
    # Equal texts of several photographs are all kept.
    assert story.captions == tuple(
      f'A large thing {n % 3}.' for n in KEPT[story.id]
    )
  assert account.left_out == {
    ('train', 'not_five_scenes'): 1,
    ('train', 'missing_image'): 1,
    ('train', 'missing_caption'): 1,
  }


def test_other_files_are_refused(tmp_path):
  with pytest.raises(FileNotFoundError, match='train.story-in-sequence.json'):
    Vist(tmp_path, 'sis')
  for split in ('train', 'val', 'test'):
    (tmp_path / f'{split}.story-in-sequence.json').write_text('{}')
  with pytest.raises(ValueError, match="'annotations' is missing"):
    Vist(tmp_path, 'sis')
  for notes in ('5', '[[{}]]', '[["x"]]', '[[{"story_id": 1}]]', '[[%s]]'):
    text = (
      '{"story_id": 1, "worker_arranged_photo_order": "x", '
      '"photo_flickr_id": 2, "original_text": "a"}'
    )
    content = '{"annotations": ' + notes.replace('%s', text) + '}'
    (tmp_path / 'train.story-in-sequence.json').write_text(content)
    with pytest.raises(UserError, match='is not a file of VIST'):
      Vist(tmp_path, 'sis')
