"""The batch of a step is fixed, and splits share no combination."""

import dataclasses
import itertools

import numpy as np
import pytest

from phenaki_jax.data.config import DataConfig
from phenaki_jax.data.sprites import Sprites
from phenaki_jax.lpc import heldout, labels
from phenaki_jax.lpc.facts import FACT_NAMES, Facts

CONFIG = DataConfig(
  size=(32, 32),
  frames=3,
  batch_size=8,
  image_share=0.5,
  continuation_share=0.0,
)


@pytest.fixture
def make(sprite_sheets):
  def make(process=(0, 1), **changes):
    config = dataclasses.replace(CONFIG, **changes)
    return Sprites(
      config, sprite_sheets, process_index=process[0], process_count=process[1]
    )

  return make


def _equal(one, other):
  for part in ('clips', 'images'):
    for name in ('pixels', 'labels'):
      np.testing.assert_array_equal(one[part][name], other[part][name])


def test_batches_have_frames_images_and_labels(make):
  batch = make().batch(0)
  assert batch['clips']['pixels'].shape == (4, 3, 32, 32, 3)
  assert batch['images']['pixels'].shape == (4, 32, 32, 3)
  for part in batch.values():
    assert part['pixels'].dtype == np.uint8
    assert part['labels'].shape == (4, len(FACT_NAMES))
    assert (part['labels'] >= 0).all()


def test_the_iterator_can_start_at_any_step(make):
  data = make()
  later = data.iterate(2)
  _equal(next(later), data.batch(2))
  _equal(next(later), make(num_threads=0).batch(3))
  data.close()
  with pytest.raises(AssertionError):
    _equal(data.batch(2), data.batch(3))


def test_processes_share_a_batch(make):
  whole = make().batch(1)
  parts = [make(process=(index, 2)).batch(1) for index in range(2)]
  joined = {
    name: {
      key: np.concatenate([part[name][key] for part in parts])
      for key in ('pixels', 'labels')
    }
    for name in whole
  }
  _equal(joined, whole)


@pytest.mark.parametrize('split', ['train', 'heldout'])
def test_splits_share_no_combination(make, split):
  data = make(split=split, batch_size=16)
  found = []
  for step, part in itertools.product(range(4), ('clips', 'images')):
    for row in data.batch(step)[part]['labels']:
      values = {
        fact: labels.value(fact, label)
        for fact, label in zip(FACT_NAMES, row, strict=True)
      }
      if values['kind'] is None:
        assert values['hair'] is values['action'] is None
        continue
      facts = Facts(**values)
      if facts.hair and facts.pants:
        found.append(heldout.is_held_out(facts))
  assert len(found) > 20
  assert set(found) == {split == 'heldout'}


def test_fingerprint_tells_data_apart_but_not_their_threads(make):
  prints = [
    make(**changes).fingerprint
    for changes in ({}, {'num_threads': 0}, {'seed': 1}, {'frames': 2})
  ]
  assert prints[0] == prints[1]
  assert len(set(prints)) == 3
