"""DiDeMoSV: the first three pairs of every complete story."""

import json

import numpy as np
import pytest

from phenaki_jax.data.story_sets.didemo import Didemo
from phenaki_jax.data.story_sets.story import Account, StorySet
from phenaki_jax.errors import UserError


def test_stories_are_those_of_the_release(releases, monkeypatch):
  made = releases.didemo
  monkeypatch.chdir(made.folder)
  account = Account()
  stories = Didemo('.')  # Paths name the folder, which '.' does not.
  assert isinstance(stories, StorySet)
  found = list(stories.stories(account))
  assert [(story.split, story.id) for story in found] == [
    ('train', 'train_00000'),
    ('train', 'train_00002'),
    ('val', 'val_00001'),
    ('test', 'test_00000'),
  ]
  assert account.left_out == {
    ('train', 'too_few_scenes'): 1,
    ('val', 'missing_image'): 1,
  }
  for story in found:
    entry = made.content[story.split][int(story.id[-5:])]
    pairs = entry['desc_to_frame'][:3]
    assert story.captions == tuple(t.replace('\t', ' ') for t, _ in pairs)
    assert story.labels is None
    for frames, (_, path) in zip(story.scenes(), pairs, strict=True):
      np.testing.assert_array_equal(frames, made.pictures[path][None])


def test_an_empty_caption_leaves_a_story_out(tmp_path, releases):
  (tmp_path / 'train.json').write_text(
    json.dumps(
      [{'desc_to_frame': [[text, f'{tmp_path.name}/a'] for text in ' bc']}]
    )
  )
  (tmp_path / 'a').write_bytes(b'')
  for split in ('val', 'test'):
    (tmp_path / f'{split}.json').write_text('[{}]')
  account = Account()
  assert not list(Didemo(tmp_path).stories(account))
  assert account.left_out == {
    ('train', 'missing_caption'): 1,
    ('val', 'too_few_scenes'): 1,
    ('test', 'too_few_scenes'): 1,
  }
  (tmp_path / 'val.json').unlink()
  with pytest.raises(FileNotFoundError, match='val.json'):
    Didemo(tmp_path)


@pytest.mark.parametrize(
  'content',
  [
    *('5', '["x"]', '[{"desc_to_frame": [["a"]]}]'),
    *('[{"desc_to_frame": [[1, "a.jpg"]]}]', '[{"desc_to_frame": [["a", 1]]}]'),
    '[{"desc_to_frame": 5}]',
  ],
)
def test_other_files_are_refused(content, tmp_path):
  (tmp_path / 'train.json').write_text(content)
  with pytest.raises(UserError, match='train.json is not a file of DiDeMoSV'):
    Didemo(tmp_path)
