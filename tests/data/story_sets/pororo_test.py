"""PororoSV: order, captions, labels and strips, with and without caches."""

import numpy as np
import pytest

from phenaki_jax.data import schema
from phenaki_jax.data.story_sets.pororo import Pororo
from phenaki_jax.data.story_sets.story import Account, StorySet


def read(folder):
  account = Account()
  stories = Pororo(folder)
  assert isinstance(stories, StorySet)
  return list(stories.stories(account)), account


def test_stories_are_those_of_the_release(releases):
  made = releases.pororo
  found, account = read(made.folder)
  assert not account.dropped
  # 10.png precedes 2.png in the lists, whose indices are sorted.
  numbers = [start.rpartition('/')[2] for start in made.starts]
  assert numbers == ['1', '2', '1', '10', '11', *'23456789']
  places = {'train': [0, 1], 'val': [2, 3, 9], 'test': [4, 5]}
  expected = [(s, made.starts[i]) for s, many in places.items() for i in many]
  assert [(story.split, story.id) for story in found] == expected
  for story in found:
    episode, _, number = story.id.rpartition('/')
    numbers = range(int(number), int(number) + 5)
    assert story.captions == tuple(
      f'Pororo says caf\u00e9 {n} in {episode}/' for n in numbers
    )
    assert [row.index(1) for row in story.labels] == [n % 9 for n in numbers]
    assert all(sum(row) == 1 and len(row) == 9 for row in story.labels)
    for n, frames in zip(numbers, story.scenes(), strict=True):
      np.testing.assert_array_equal(frames, made.scenes[f'{episode}/{n}'])


def test_missing_caches_are_made_again(releases, tmp_path):
  made = releases.write_pororo(tmp_path, caches=False)
  found, account = read(made.folder)
  assert found == read(releases.pororo.folder)[0]
  assert not account.dropped
  (tmp_path / 'frames_counter.npy').unlink()
  with pytest.raises(FileNotFoundError, match='frames_counter.npy'):
    Pororo(tmp_path)


def test_what_is_missing_is_counted(releases, tmp_path):
  made = releases.write_pororo(tmp_path)
  first = made.starts[0]
  episode = first.rpartition('/')[0]
  tables = {}
  for name in ('descriptions', 'labels'):
    pick = np.arange(1, 7) if name == 'labels' else [1, 2, 3, 4, 5]
    tables[name] = {
      f'{episode}/{n}': [b'words'] if name == 'descriptions' else [0] * 9
      for n in pick
    }
    releases.py2_npy(tmp_path / f'{name}.npy', tables[name])
  found, account = read(tmp_path)
  assert [story.id for story in found] == [first]
  assert account.left_out == {
    ('train', 'missing_caption'): 1,
    ('val', 'missing_caption'): 3,
    ('test', 'missing_caption'): 2,
  }
  (tmp_path / f'{episode}/3.png').unlink()
  with pytest.raises(schema.DecodeError, match='missing_image'):
    found[0].scenes()
  del tables['labels'][first]
  releases.py2_npy(tmp_path / 'labels.npy', tables['labels'])
  assert read(tmp_path)[1].left_out['train', 'missing_labels'] == 1


def test_lists_of_other_frames_are_refused(releases, tmp_path):
  releases.write_pororo(tmp_path)
  path = tmp_path / 'train_seen_unseen_ids.npy'
  releases.py2_npy(path, [[0], [1], [13]])
  with pytest.raises(ValueError, match='names story 13, but there are 13'):
    Pororo(tmp_path)
  releases.py2_npy(path, [[0], [1]])
  with pytest.raises(ValueError, match='has 2 lists'):
    Pororo(tmp_path)
