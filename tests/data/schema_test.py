import numpy as np
import pytest

from phenaki_jax.data import schema


def make():
  return {
    'clips': {
      'pixels': np.zeros((2, 5, 4, 6, 3), np.uint8),
      'text': np.ones((2, 7), np.int32),
      'num_frames': np.array([5, 3], np.int32),
      'context_frames': np.array([0, 1], np.int32),
    },
    'images': {
      'pixels': np.zeros((3, 4, 6, 3), np.uint8),
      'text': np.ones((3, 7), np.int32),
    },
  }


def check(batch):
  return schema.check_batch(batch, size=(4, 6), frames=5)


def test_a_sound_batch_passes_unchanged():
  batch = make()
  assert check(batch) is batch
  del batch['images']
  check(batch)


@pytest.mark.parametrize(
  'part, key, value, words',
  [
    ('clips', 'pixels', np.zeros((2, 5, 4, 6, 3), np.float32), 'uint8'),
    ('clips', 'pixels', np.zeros((2, 5, 3, 4, 6), np.uint8), 'pixels must'),
    ('images', 'pixels', np.zeros((3, 6, 4, 3), np.uint8), 'pixels must'),
    ('images', 'text', np.ones((2, 7), np.int32), 'text must'),
    ('images', 'text', np.zeros((3, 7), np.int32), 'end mark'),
    ('clips', 'text', np.ones((2, 7), np.int64), 'int32'),
    ('clips', 'num_frames', np.array([5, 4], np.int32), '1 \\+ 2k'),
    ('clips', 'num_frames', np.array([5, 7], np.int32), '1 \\+ 2k'),
    ('clips', 'context_frames', np.array([5, 0], np.int32), 'less than'),
    ('clips', 'context_frames', np.array([-1, 0], np.int32), 'less than'),
  ],
)
def test_what_breaks_the_schema_is_refused(part, key, value, words):
  batch = make()
  batch[part][key] = value
  with pytest.raises(ValueError, match=words):
    check(batch)


def test_parts_and_keys_are_the_documented_ones():
  for batch in ({}, {'videos': {}}, make() | {'more': {}}):
    with pytest.raises(ValueError, match='clips, images or both'):
      check(batch)
  batch = make()
  del batch['clips']['num_frames']
  with pytest.raises(ValueError, match='clips must hold'):
    check(batch)


def test_an_error_of_decoding_names_a_countable_reason():
  error = schema.DecodeError('truncated_file', 'half of it')
  assert error.reason == 'truncated_file'
  assert str(error) == 'truncated_file: half of it'
