"""Caches of tokens: records, order, and what is refused."""

import dataclasses

import numpy as np
import pytest

from phenaki_jax.data import record_cache
from phenaki_jax.data.record_cache import CacheInfo, CacheWriter
from phenaki_jax.data.token_cache import TokenCache, TokenExample
from phenaki_jax.errors import UserError

INFO = CacheInfo(
  kind='tokens',
  settings={'data': {'seed': 0, 'size': [8, 8]}, 'tokenizer_params': 'aa'},
  details={'reencoded': False, 'grid': [1, 1, 2]},
  counts={'clips': 2, 'images': 1},
  steps=5,
)


def example(part, index):
  tokens = np.array([[index, 7]], np.uint16)
  return TokenExample(
    tokens=tokens[None] if part == 'clips' else tokens,
    caption=f'{part} {index} ü',
    num_frames=1 + index,
  )


def fill(writer):
  """Write all missing files, in their order."""
  for start, stop in writer.missing:
    examples = {
      part: [
        example(part, index).to_record()
        for index in range(start * count, stop * count)
      ]
      for part, count in INFO.counts.items()
    }
    writer.write(start, examples)
  writer.finish()


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """Write a cache of three files per part."""
  monkeypatch.setattr(record_cache, 'STEPS_PER_FILE', 2)
  fill(CacheWriter(tmp_path, INFO))
  return tmp_path


def content(folder):
  return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_record_holds_the_example():
  one = TokenExample(
    tokens=np.arange(12, dtype=np.uint16).reshape(3, 2, 2),
    reencoded=np.arange(12, dtype=np.uint32).reshape(3, 2, 2) + 2**17,
    caption='a cat 🐈 turns',
    num_frames=5,
    context_frames=3,
  )
  read = TokenExample.from_record(one.to_record())
  for name in ('tokens', 'reencoded'):
    array = getattr(one, name)
    assert getattr(read, name).dtype == array.dtype
    np.testing.assert_array_equal(getattr(read, name), array)
  assert (read.caption, read.num_frames) == (one.caption, 5)
  assert read.context_frames == 3
  image = TokenExample(tokens=np.zeros((2, 2), np.uint16), caption='')
  read = TokenExample.from_record(image.to_record())
  assert (read.caption, read.num_frames, read.context_frames) == ('', 1, 0)
  assert read.reencoded is None


def test_first_epoch_keeps_the_order_and_others_are_shuffled(folder):
  cache = TokenCache(folder)
  assert cache.sizes == {'clips': 10, 'images': 5}
  clips = cache.examples('clips', seed=0)
  found = np.array([clips[i].tokens[0, 0, 0] for i in range(40)])
  epochs = found.reshape(4, 10)
  np.testing.assert_array_equal(epochs[0], np.arange(10))
  np.testing.assert_array_equal(np.sort(epochs, axis=1), epochs[[0] * 4])
  assert len({tuple(epoch) for epoch in epochs}) == 4
  again = TokenCache(folder).examples('clips', seed=0)
  assert again[27].caption == clips[27].caption == f'clips {found[27]} ü'
  other = TokenCache(folder).examples('clips', seed=1)
  assert [other[i].tokens[0, 0, 0] for i in range(10, 20)] != list(epochs[1])


def test_interrupted_build_goes_on_and_equals_a_clean_one(folder, tmp_path):
  wanted = content(folder)
  for name in list(wanted)[:2]:
    if name != record_cache.CACHE_FILE:
      (folder / name).unlink()
  (folder / f'.{list(wanted)[-1]}.part-0').mkdir()
  writer = CacheWriter(folder, INFO)
  assert 0 < len(writer.missing) < 3
  with pytest.raises(UserError, match='unfinished'):
    TokenCache(folder)
  fill(writer)
  assert content(folder) == wanted


def test_shorter_cache_is_extended_to_equal_a_longer_one(folder, tmp_path):
  wanted = content(folder)
  other = tmp_path / 'other'
  other.mkdir()
  fill(CacheWriter(other, dataclasses.replace(INFO, steps=3)))
  writer = CacheWriter(other, INFO)
  assert writer.missing == [(2, 4), (4, 5)]
  fill(writer)
  assert content(other) == {
    name: data for name, data in wanted.items() if name != 'other'
  }
  shorter = dataclasses.replace(INFO, steps=3)
  with pytest.raises(UserError, match='of 5 steps, more than 3; use it as it'):
    CacheWriter(other, shorter)
  CacheWriter(other, INFO)  # Begun again, and not finished.
  with pytest.raises(UserError, match='unfinished, so go on with the earlier'):
    CacheWriter(other, shorter)


def test_other_settings_are_refused_with_their_names(folder):
  settings = {'data': {'seed': 1, 'size': [8, 8]}, 'tokenizer_params': 'aa'}
  with pytest.raises(UserError, match='data.seed is 0 there and 1 here'):
    TokenCache(folder).info.check(folder, settings)
  TokenCache(folder).info.check(folder, INFO.settings)
  with pytest.raises(UserError, match='data.seed is 0 there and 1 here'):
    CacheWriter(folder, dataclasses.replace(INFO, settings=settings))
  counts = {'clips': 4, 'images': 1}
  with pytest.raises(UserError, match="begun with counts=.*clips': 2"):
    CacheWriter(folder, dataclasses.replace(INFO, counts=counts))
  with pytest.raises(UserError, match='begun with details='):
    CacheWriter(folder, dataclasses.replace(INFO, details={'reencoded': True}))


def test_damaged_caches_are_refused(folder, tmp_path):
  with pytest.raises(UserError, match='there is no cache in'):
    TokenCache(tmp_path / 'nowhere')
  info = (folder / record_cache.CACHE_FILE).read_text()
  for before, after, words in (
    ('"seed": 0', '"seed": 3', 'was edited'),
    ('"format": 1', '"format": 9', 'has the format 9'),
    ('"steps"', '"stops"', 'is damaged'),
    ('"kind": "tokens"', '"kind": "text"', 'is a cache of text; name one of'),
    ('{', '', 'is damaged'),
    ('"clips": 2', '"clips": 3', 'is missing'),
  ):
    assert before in info
    (folder / record_cache.CACHE_FILE).write_text(
      info.replace(before, after, 1)
    )
    with pytest.raises(UserError, match=words):
      TokenCache(folder)
  (folder / record_cache.CACHE_FILE).write_text(info)
  files = sorted(folder.glob('images-*'))
  files[1].write_bytes(files[2].read_bytes())
  with pytest.raises(UserError, match='has 4 images, but .* says 5'):
    TokenCache(folder)


def test_parts_and_folders_that_do_not_fit_are_refused(tmp_path):
  info = dataclasses.replace(INFO, counts={'clips': 1}, steps=1)
  writer = CacheWriter(tmp_path, info)
  writer.write(0, {'clips': [example('clips', 0).to_record()]})
  writer.finish()
  with pytest.raises(UserError, match='no images; set data.image_share=0'):
    TokenCache(tmp_path).examples('images', seed=0)
  (tmp_path / record_cache.CACHE_FILE).unlink()
  with pytest.raises(UserError, match='holds other files'):
    CacheWriter(tmp_path, info)
