"""FlintstonesSV: stories stay within an episode, with and without caches."""

import json

import numpy as np
import pytest

from phenaki_jax.data import schema
from phenaki_jax.data.story_sets.flintstones import Flintstones
from phenaki_jax.data.story_sets.story import Account, StorySet


def read(folder):
  account = Account()
  stories = Flintstones(folder)
  assert isinstance(stories, StorySet)
  return list(stories.stories(account)), account


def test_stories_are_those_of_the_release(releases):
  made = releases.flintstones
  found, account = read(made.folder)
  clips = made.clips
  # In the order of the split; stories do not cross an episode.
  expected = [1, 0, 7, 2, 8]
  assert [story.id for story in found] == [clips[i] for i in expected]
  splits = [story.split for story in found]
  assert splits == ['train', 'train', 'train', 'val', 'test']
  assert account.left_out == {
    ('val', 'short_followers'): 2,
    ('test', 'short_followers'): 6,
  }
  assert account.dropped[0] == {
    'split': 'val',
    'id': clips[3],
    'reason': 'short_followers',
    'detail': '3 of 4 clips follow',
  }
  for story, first in zip(found, expected, strict=True):
    names = clips[first : first + 5]
    assert story.labels == tuple(tuple(made.labels[name]) for name in names)
    assert [words.split()[-1] for words in story.captions] == [
      f'{n}.' for n in range(first, first + 5)
    ]
    for frames, name in zip(story.scenes(), names, strict=True):
      np.testing.assert_array_equal(frames, made.frames[name])


def test_missing_caches_are_made_again(releases, tmp_path):
  releases.write_flintstones(tmp_path, caches=False)
  found, account = read(tmp_path)
  theirs, counted = read(releases.flintstones.folder)
  assert found == theirs
  assert account.dropped == counted.dropped


def test_what_is_missing_is_counted(releases, tmp_path):
  made = releases.write_flintstones(tmp_path)
  path = tmp_path / 'flintstones_annotations_v1-0.json'
  notes = json.loads(path.read_text())
  notes = [note for note in notes if note['globalID'] != made.clips[11]]
  path.write_text(json.dumps(notes))
  found, account = read(tmp_path)
  assert account.left_out['train', 'missing_caption'] == 1
  assert account.left_out['test', 'missing_caption'] == 1
  full = {name: row for name, row in made.labels.items()}
  del full[made.clips[5]]
  releases.py2_pickle(tmp_path / 'labels.pkl', full)
  assert read(tmp_path)[1].left_out['train', 'missing_labels'] == 1
  place = tmp_path / 'video_frames_sampled' / f'{made.clips[1]}.npy'
  np.save(place, np.zeros((5, 4, 4), np.uint8))
  with pytest.raises(schema.DecodeError, match='corrupt_npy'):
    found[0].scenes()
  place.write_bytes(b'x')
  with pytest.raises(schema.DecodeError, match='corrupt_npy'):
    found[0].scenes()
  place.unlink()
  with pytest.raises(schema.DecodeError, match='missing_image'):
    found[0].scenes()


def test_whole_clips_are_read_where_no_sample_is(releases, tmp_path):
  releases.write_flintstones(tmp_path)
  (tmp_path / 'video_frames_sampled').rename(tmp_path / 'video_frames')
  (story, *_), _ = read(tmp_path)
  assert len(story.scenes()) == 5


def test_other_files_are_refused(releases, tmp_path):
  with pytest.raises(FileNotFoundError, match='train-val-test_split.json'):
    Flintstones(tmp_path)
  releases.write_flintstones(tmp_path)
  path = tmp_path / 'train-val-test_split.json'
  path.write_text('{"train": []}')
  with pytest.raises(ValueError, match="'val' is missing"):
    Flintstones(tmp_path)
  path.write_text('{')
  with pytest.raises(ValueError, match='is not JSON'):
    Flintstones(tmp_path)
