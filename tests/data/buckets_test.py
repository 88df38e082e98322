"""Batches of several shapes have a fixed order, on any number of processes."""

import collections
import itertools

import numpy as np
import pytest

from phenaki_jax.data import config as config_lib
from phenaki_jax.data.buckets import Buckets
from phenaki_jax.data.mixture import source_at, taken
from phenaki_jax.data.pipeline import Pipeline
from phenaki_jax.errors import UserError

BUCKETS = (
  config_lib.BucketConfig(frames=7, size=(8, 8), weight=0.5),
  config_lib.BucketConfig(frames=3, size=(16, 8), weight=0.3, batch_size=8),
  config_lib.BucketConfig(frames=11, size=(8, 8), weight=0.2, batch_size=4),
)
SHAPES = [(7, 8, 8), (3, 16, 8), (11, 8, 8)]


def config(**fields):
  defaults = {
    'size': (8, 8),
    'frames': 7,
    'batch_size': 4,
    'image_share': 0.5,
    'buckets': BUCKETS,
    'continuation_share': 0.0,
    'num_threads': 0,
  }
  return config_lib.DataConfig(**{**defaults, **fields})


def make(process_index=0, process_count=1, **fields):
  def opener(data):
    return Pipeline(
      data,
      lambda text: np.full(2, len(text), np.int32),
      tubelet=2,
      text_length=2,
      process_index=process_index,
      process_count=process_count,
    )

  return Buckets(config(**fields), opener)


def shape(batch):
  return batch['clips']['pixels'].shape[1:4]


def test_each_step_has_the_shape_of_one_bucket_in_exact_shares():
  loader = make()
  shapes = [shape(loader.batch(step)) for step in range(10)]
  counts = collections.Counter(shapes)
  assert counts == dict(zip(SHAPES, (5, 3, 2), strict=True))
  for step, found in enumerate(shapes):
    number, _ = loader.bucket(step)
    assert found == SHAPES[number]
    batch = loader.batch(step)
    examples = BUCKETS[number].batch_size or 4
    assert len(batch['clips']['text']) == len(batch['images']['text'])
    assert len(batch['clips']['text']) == examples // 2
    assert batch['images']['pixels'].shape[1:3] == found[1:]


@pytest.mark.parametrize('count', [1, 2])
def test_processes_share_batches_and_any_step_can_be_resumed(count):
  whole = list(itertools.islice(make().iterate(), 6))
  for start, index in ((0, 0), (3, count - 1)):
    loader = make(index, count)
    found = itertools.islice(loader.iterate(start), 6 - start)
    for batch, expected in zip(found, whole[start:], strict=True):
      for part, arrays in batch.items():
        rows = len(expected[part]['text']) // count
        mine = slice(index * rows, (index + 1) * rows)
        for name, array in arrays.items():
          np.testing.assert_array_equal(array, expected[part][name][mine])
    loader.close()


def test_buckets_have_orders_of_their_own():
  one, other = config_lib.BucketConfig(frames=7, size=(8, 8)), BUCKETS[0]
  loader = make(buckets=(one, other))
  first, second = (each.batch(0) for each in loader.pipelines)
  assert not np.array_equal(first['clips']['text'], second['clips']['text'])


def test_the_fingerprint_covers_shapes_and_shares():
  one = make().fingerprint
  assert one == make(num_threads=2).fingerprint
  assert one != make(buckets=BUCKETS[:2]).fingerprint
  others = (config_lib.BucketConfig(frames=7, size=(8, 8)), *BUCKETS[1:])
  assert one != make(buckets=others).fingerprint


def test_examples_and_tokens_are_counted_over_all_shapes():
  loader = make()
  tokens = [{'clips': 10, 'images': 3}, {'clips': 7, 'images': 6}]
  tokens.append({'clips': 20, 'images': 3})
  counts = collections.Counter()
  for step in range(1, 13):
    number, _ = loader.bucket(step - 1)
    half = (BUCKETS[number].batch_size or 4) // 2
    counts['examples'] += half
    counts['clips'] += half * tokens[number]['clips']
    counts['images'] += half * tokens[number]['images']
    found = loader.seen(step, tokens)
    assert found['clips_seen'] == found['images_seen'] == counts['examples']
    assert found['image_share'] == 0.5
    total = counts['clips'] + counts['images']
    assert found['tokens_seen'] == total
    assert found['image_token_share'] == counts['images'] / total


def test_description_and_captions_are_those_of_the_buckets():
  loader = make()
  text = loader.describe(1)
  assert '0.3 of the steps have clips of 3 frames of 16 x 8 pixels.' in text
  assert 'Every batch holds 2 clips and 2 images' in text
  assert len(list(loader.captions(6))) == 6
  assert loader.replaced == 0


@pytest.mark.parametrize('weights', [(5, 3, 2), (0, 1, 7), (4,), (1, 0)])
def test_positions_before_one_are_counted(weights):
  counts = [0] * len(weights)
  for position in range(40):
    assert taken(position, weights) == counts
    counts[source_at(position, weights)[0]] += 1


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'frames': 5}, 'data.frames=5 of data.size='),
    ({'token_cache': 'runs/tokens'}, 'a cache holds clips of one shape'),
  ],
)
def test_contradictions_are_refused(fields, message):
  with pytest.raises(UserError, match=message):
    config(**fields)


def test_models_without_tokens_have_no_counts_of_them():
  loader = make()
  found = loader.seen(10, [{}, {}, {}])
  with_tokens = loader.seen(10, [{'clips': 1, 'images': 1}] * 3)
  for name in ('tokens_seen', 'image_token_share'):
    del with_tokens[name]
  assert found == with_tokens and found['clips_seen'] == found['images_seen']
  for share in (0.0, 0.5):
    text = make(image_share=share).describe(0)
    assert text.count('of its examples') == 3 and 'tokens' not in text
  assert make().describe(4).count('of its tokens') == 3
