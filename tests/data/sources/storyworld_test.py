import numpy as np
import pytest

from phenaki_jax.data import schema
from phenaki_jax.data.sources import base, storyworld

REQUEST = schema.ExampleRequest(size=(16, 24), frames=7, fps=8.0)


def make(**fields):
  reader = storyworld.StoryWorldReader(subset='easy', **fields)
  return storyworld.StoryWorld(reader, num_clips=3, num_images=2)


def test_clips_come_first_then_images():
  source = make()
  assert isinstance(source, base.Source)
  assert isinstance(source.reader, base.Reader)
  kinds = [source[i].kind for i in range(len(source))]
  assert kinds == ['clip'] * 3 + ['image'] * 2
  clip = source.reader.example(source[1], REQUEST)
  assert clip.pixels.shape == (7, 16, 24, 3) and clip.num_frames == 7
  assert source.reader.example(source[4], REQUEST).pixels.shape == (16, 24, 3)
  with pytest.raises(IndexError):
    source[5]


def test_captions_are_those_of_the_rendered_examples():
  source = make(continuation_share=0.5)
  for i in range(len(source)):
    example = source.reader.example(source[i], REQUEST)
    assert example.caption == source[i].caption


def test_hashes_of_different_examples_and_worlds_differ():
  sources = [make(), make(seed=1), make(continuation_share=1.0)]
  hashes = {
    source.reader.examine(source[i]).content_hash
    for source in sources
    for i in range(len(source))
  }
  assert len(hashes) == 15


def test_examples_of_the_splits_differ():
  train, heldout = make(), make(split='heldout')
  one = train.reader.example(train[0], REQUEST)
  other = heldout.reader.example(heldout[0], REQUEST)
  assert not np.array_equal(one.pixels, other.pixels)


def test_an_unknown_subset_and_an_empty_world_are_rejected():
  with pytest.raises(ValueError, match='unknown subset'):
    storyworld.StoryWorldReader(subset='medium-rare')
  reader = storyworld.StoryWorldReader(subset='easy')
  with pytest.raises(ValueError, match='has no examples'):
    storyworld.StoryWorld(reader, num_clips=0, num_images=0)
