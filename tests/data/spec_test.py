import dataclasses

import numpy as np
import pytest

from phenaki_jax.data import config as config_lib
from phenaki_jax.data import spec as spec_lib
from phenaki_jax.errors import UserError

DATA = config_lib.DataConfig(
  size=(4, 6), frames=5, batch_size=5, image_share=0.6, context_frames=1
)
SPEC = spec_lib.batch_spec(DATA, tubelet=2, text_length=7)


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


def check(batch, spec=SPEC):
  return spec_lib.check_batch(batch, spec, tubelet=2)


def test_a_batch_that_meets_its_spec_is_returned():
  batch = make()
  assert check(batch) is batch
  del batch['images']
  check(batch, {'clips': SPEC['clips']})


@pytest.mark.parametrize(
  'part, key, value, words',
  [
    (
      'clips',
      'pixels',
      np.zeros((2, 5, 4, 6, 3), np.float32),
      'not .*pixels.: .float32',
    ),
    ('clips', 'pixels', np.zeros((2, 5, 3, 4, 6), np.uint8), 'must hold'),
    ('images', 'pixels', np.zeros((3, 6, 4, 3), np.uint8), 'must hold'),
    ('images', 'text', np.ones((2, 7), np.int32), 'must hold'),
    ('images', 'text', np.zeros((3, 7), np.int32), 'end mark'),
    ('clips', 'text', np.ones((2, 6), np.int32), 'must hold'),
    ('clips', 'text', np.ones((2, 7), np.int64), 'not .*text.: .int64'),
    ('clips', 'num_frames', np.array([5, 4], np.int32), '1 \\+ k \\* 2'),
    ('clips', 'num_frames', np.array([5, 7], np.int32), 'at most 5'),
    ('clips', 'num_frames', np.array([5, -1], np.int32), '1 \\+ k \\* 2'),
    ('clips', 'context_frames', np.array([5, 0], np.int32), 'less than'),
    ('clips', 'context_frames', np.array([-1, 0], np.int32), 'less than'),
  ],
)
def test_arrays_that_differ_from_the_spec_are_rejected(part, key, value, words):
  batch = make()
  batch[part][key] = value
  with pytest.raises(ValueError, match=words):
    check(batch)


def test_parts_and_names_must_be_those_of_the_spec():
  for batch in ({}, make() | {'more': {}}):
    with pytest.raises(ValueError, match="must hold {'clips.pixels'"):
      check(batch)
  batch = make()
  del batch['clips']['num_frames']
  with pytest.raises(ValueError, match='clips.num_frames.*, not'):
    check(batch)


def test_other_arrays_may_replace_pixels_and_text():
  spec = {'clips': dict(SPEC['clips'])}
  del spec['clips']['pixels'], spec['clips']['text']
  spec['clips']['tokens'] = spec_lib.ArraySpec(
    shape=(2, 3, 2, 2), dtype=np.dtype(np.int32)
  )
  clips = make()['clips']
  batch = {
    'clips': {name: clips[name] for name in spec['clips'] if name in clips}
  }
  batch['clips']['tokens'] = np.zeros((2, 3, 2, 2), np.int32)
  check(batch, spec)
  batch['clips']['num_frames'][0] = 4
  with pytest.raises(ValueError, match='num_frames'):
    check(batch, spec)


@pytest.mark.parametrize('tubelet', [1, 2, 3, 4])
def test_frames_must_fit_the_tubelet(tubelet):
  for field in ('frames', 'context_frames'):
    for frames in range(1, 14):
      fields = {'frames': 1 + 5 * tubelet, 'context_frames': 1, field: frames}
      if fields['context_frames'] >= fields['frames']:
        continue
      data = dataclasses.replace(DATA, **fields)
      if frames % tubelet == 1 % tubelet:
        spec_lib.batch_spec(data, tubelet=tubelet, text_length=7)
      else:
        with pytest.raises(UserError, match=f'data.{field} is {frames}; '):
          spec_lib.batch_spec(data, tubelet=tubelet, text_length=7)


def test_frames_of_images_alone_need_not_fit():
  data = dataclasses.replace(DATA, frames=8, image_share=1.0)
  assert set(spec_lib.batch_spec(data, tubelet=3, text_length=7)) == {'images'}


@pytest.mark.parametrize('share', [count / 6 for count in range(7)])
@pytest.mark.parametrize('hosts', [1, 5])
def test_the_hosts_together_have_the_composition_of_the_batch(share, hosts):
  data = dataclasses.replace(
    DATA, frames=5, context_frames=3, batch_size=30, image_share=share
  )
  spec = spec_lib.batch_spec(data, tubelet=2, text_length=7)
  rows = {
    part: arrays['text'].shape[0] * hosts
    for part, arrays in spec_lib.process_spec(spec, hosts).items()
  }
  images = round(30 * share)
  expected = {'clips': 30 - images, 'images': images}
  assert rows == {part: count for part, count in expected.items() if count}


def test_rows_are_divided_among_the_processes():
  parts = spec_lib.process_spec({'images': SPEC['images']}, 3)
  assert parts['images']['pixels'].shape == (1, 4, 6, 3)
  with pytest.raises(UserError, match='2 clips, which 3 processes'):
    spec_lib.process_spec(SPEC, 3)
