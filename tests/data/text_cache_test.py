"""Vectors of captions survive a cache, exactly or within half a step."""

import numpy as np
import pytest

from phenaki_jax.data.record_cache import CacheInfo, CacheWriter
from phenaki_jax.data.text_cache import (
  INDEX_FILE,
  TextCache,
  TextExample,
  caption_hash,
)
from phenaki_jax.errors import UserError

DRAWS = np.random.default_rng(0)
EXAMPLES = [
  TextExample(
    caption=caption,
    vectors=DRAWS.normal(size=(length, 6)).astype(np.float32) * length,
  )
  for length, caption in enumerate(('', 'a cat', 'ein Bär', 'кот'), 1)
]
INFO = CacheInfo(
  kind='text', settings={}, details={}, counts={'captions': 2}, steps=2
)


def write(folder, examples=EXAMPLES, hashes=None, int8=False):
  writer = CacheWriter(folder, INFO)
  records = [example.to_record(int8=int8) for example in examples]
  writer.write(0, {'captions': records})
  if hashes is None:
    hashes = [caption_hash(example.caption) for example in examples]
  np.save(folder / INDEX_FILE, np.array(hashes, np.uint64))
  writer.finish()
  return TextCache(folder)


def test_captions_have_their_vectors_at_true_length(tmp_path):
  cache = write(tmp_path)
  for example in EXAMPLES[::-1]:
    found = cache.vectors(example.caption)
    np.testing.assert_array_equal(found, example.vectors)
  with pytest.raises(UserError, match="has no caption 'dog'"):
    cache.vectors('dog')


def test_int8_rows_are_within_half_a_step(tmp_path):
  zero = TextExample(caption='', vectors=np.zeros((2, 6), np.float32))
  cache = write(tmp_path, [zero, *EXAMPLES[1:]], int8=True)
  np.testing.assert_array_equal(cache.vectors(''), zero.vectors)
  for example in EXAMPLES[1:]:
    found = cache.vectors(example.caption)
    assert found.dtype == np.float32
    step = np.abs(example.vectors).max(axis=1, keepdims=True) / 127
    assert (np.abs(found - example.vectors) <= 0.501 * step).all()
    assert (found != example.vectors).any()


def test_captions_of_one_hash_are_told_apart(tmp_path):
  same = [caption_hash(EXAMPLES[3].caption)] * 3
  cache = write(tmp_path, hashes=[caption_hash(''), *same])
  found = cache.vectors(EXAMPLES[3].caption)
  np.testing.assert_array_equal(found, EXAMPLES[3].vectors)


def test_cache_without_its_index_is_refused(tmp_path):
  write(tmp_path)
  (tmp_path / INDEX_FILE).unlink()
  with pytest.raises(UserError, match='captions.npy is missing'):
    TextCache(tmp_path)
