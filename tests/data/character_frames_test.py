"""Labelled frames: each scene once in an epoch, with the labels of its own."""

import numpy as np
import pytest

from phenaki_jax.data import schema
from phenaki_jax.data.character_frames import CharacterFrames
from phenaki_jax.data.config import DataConfig
from phenaki_jax.data.story_sets.exchange import ExchangeWriter
from phenaki_jax.data.story_sets.story import Story

NAMES = ('Fred', 'Dino')


@pytest.fixture(scope='module')
def file(tmp_path_factory):
  """Write 4 stories of 3 scenes, whose colour tells the labels."""
  path = tmp_path_factory.mktemp('frames') / 'stories.h5'
  with ExchangeWriter(path, name='x', characters=NAMES) as writer:
    for number in range(4):
      labels = tuple(((number + i) % 2, i % 2) for i in range(3))
      scenes = []
      for scene, (fred, dino) in enumerate(labels):
        frames = np.zeros((2, 8, 8, 3), np.uint8)
        frames[...] = (200 * fred, 200 * dino, 10 * (3 * number + scene))
        frames[1, 0, 0] = 99
        scenes.append(frames)
      story = Story(
        id=f's{number}',
        split='train' if number < 3 else 'test',
        captions=('a', 'b', 'c'),
        labels=labels,
        load=tuple,
      )
      writer.write(story, tuple(scenes))
  return str(path)


def config(**changes):
  values = {
    'size': (8, 8),
    'frames': 1,
    'batch_size': 6,
    'image_share': 1.0,
    'continuation_share': 0.0,
    'num_threads': 0,
  }
  return DataConfig(**{**values, **changes})


def test_an_epoch_shows_every_scene_once_with_its_labels(file):
  frames = CharacterFrames(config(), file, NAMES)
  epochs = []
  for epoch in range(2):
    seen = []
    # Nine scenes: one and a half batches.
    for step in range(epoch * 3, epoch * 3 + 3):
      images = frames.batch(step)['images']
      for pixels, labels in zip(
        images['pixels'], images['labels'], strict=True
      ):
        red, green, blue = pixels[4, 4]
        assert labels.tolist() == [red // 200, green // 200]
        seen.append(int(blue))
    epochs.append(seen)
  for seen in epochs:
    for start in (0, 9):
      assert sorted(seen[start : start + 9]) == list(range(0, 90, 10))
  assert epochs[0] != epochs[1]
  corners = {
    tuple(pixels[0, 0])
    for step in range(4)
    for pixels in frames.batch(step)['images']['pixels']
  }
  # Both frames of scenes are shown.
  assert (99, 99, 99) in corners and len(corners) > 1


def test_processes_share_a_batch_that_depends_on_the_step_alone(file):
  whole = CharacterFrames(config(), file, NAMES)
  halves = [
    CharacterFrames(config(), file, NAMES, process_index=i, process_count=2)
    for i in range(2)
  ]
  for step in (5, 0):
    for name in ('pixels', 'labels'):
      joined = [half.batch(step)['images'][name] for half in halves]
      expected = whole.batch(step)['images'][name]
      np.testing.assert_array_equal(np.concatenate(joined), expected)
  assert '6 frames of 3 stories' in whole.describe(1)
  assert whole.fingerprint == halves[0].fingerprint
  other = CharacterFrames(config(seed=1), file, NAMES)
  assert other.fingerprint != whole.fingerprint


def test_what_does_not_fit_is_refused(file):
  with pytest.raises(ValueError, match='labels of Fred, Dino, but'):
    CharacterFrames(config(), file, ('Dino', 'Fred'))
  with pytest.raises(ValueError, match='set data.image_share=1'):
    CharacterFrames(config(image_share=0.5), file, NAMES)
  with pytest.raises(schema.EmptySplitError, match='no stories of val'):
    CharacterFrames(config(split='heldout'), file, NAMES)
