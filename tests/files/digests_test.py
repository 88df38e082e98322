"""Digests change with any change of the content."""

import hashlib
import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenaki_jax.files import digests


@settings(deadline=None, max_examples=50)
@given(bit=st.integers(0, 8 * 24 - 1))
def test_any_flipped_bit_changes_the_digest(bit):
  array = np.linspace(-1, 1, 6, dtype=np.float32)
  damaged = array.copy()
  damaged.view(np.uint8)[bit // 8] ^= 1 << (bit % 8)
  assert digests.digest_array(array) != digests.digest_array(damaged)


def test_digest_depends_on_dtype_and_shape():
  zeros = np.zeros((2, 3), np.float32)
  others = [zeros.T, zeros.reshape(6), zeros.astype(np.int32)]
  assert len({digests.digest_array(a) for a in [zeros, *others]}) == 4


@pytest.mark.parametrize('dtype', ['bfloat16', 'float32', 'int32', 'bool'])
def test_digest_does_not_depend_on_memory_layout(dtype):
  array = np.asarray(jnp.arange(12).reshape(3, 4).astype(dtype))
  turned = np.asfortranarray(array)
  assert digests.digest_array(turned) == digests.digest_array(array)
  assert digests.digest_array(array[:1]) != digests.digest_array(array[1:2])


def _sum(array):
  start = (0,) * array.ndim
  return digests.sum_block(array, shape=array.shape, start=start)


@settings(deadline=None, max_examples=50)
@given(bit=st.integers(0, 8 * 24 - 1))
def test_any_flipped_bit_changes_the_checksum(bit):
  array = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
  damaged = array.copy()
  damaged.reshape(-1).view(np.uint8)[bit // 8] ^= 1 << (bit % 8)
  assert _sum(array) != _sum(damaged)


@pytest.mark.parametrize(
  'dtype', ['bfloat16', 'float32', 'float64', 'int64', 'bool', 'int8']
)
@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_blocks_add_up_to_the_checksum(dtype, data):
  shape = data.draw(st.lists(st.integers(1, 5), max_size=3))
  array = np.random.default_rng(0).normal(0, 9, shape)
  array = np.asarray(np.asarray(array), jnp.dtype(dtype))
  cuts = [data.draw(st.integers(0, size)) for size in shape]
  total = 0
  for corner in itertools.product(*((0, 1) for _ in shape)):
    start = [cut if up else 0 for up, cut in zip(corner, cuts, strict=True)]
    stop = [
      size if up else cut
      for up, cut, size in zip(corner, cuts, shape, strict=True)
    ]
    block = array[(*map(slice, start, stop), ...)]
    total += digests.sum_block(block, shape=shape, start=start)
  assert total % 2**64 == _sum(array)


def test_checksum_depends_on_the_place_of_every_word():
  array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
  others = [array[::-1], array[:, ::-1], array[..., ::-1], array + 1]
  assert len({_sum(a) for a in [array, *others]}) == 5
  # Changes that would cancel out in a plain sum, and a row of zeros.
  swapped = array.copy()
  swapped[0, 0, 0], swapped[1, 2, 3] = array[1, 2, 3], array[0, 0, 0]
  assert _sum(swapped) != _sum(array)
  assert _sum(np.zeros((2, 3))) != _sum(np.zeros((3, 3)))


def test_checksum_is_that_of_the_plain_formula():
  def key(place, seed):
    z = (place + 1) * 0x9E3779B97F4A7C15 + seed * 0xD1342543DE82EF95
    z %= 2**64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return z ^ z >> 31

  def mixed(word):
    word = (word ^ word >> 16) * 0x85EBCA6B % 2**32
    word = (word ^ word >> 13) * 0xC2B2AE35 % 2**32
    return word ^ word >> 16

  array = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
  words = array.view(np.uint32)
  total = 0
  for (row, place), word in np.ndenumerate(words):
    r, p = key(row, 1), key(place, 2)
    word = ((int(word) ^ p % 2**32) + r % 2**32) % 2**32
    total += mixed(word) * (r | 1) * (p | 1)
  assert _sum(array) == total % 2**64


def test_json_digests_ignore_the_order_of_keys():
  one, two = {'a': 1, 'b': [1.5]}, {'b': [1.5], 'a': 1}
  assert digests.digest_json(one) == digests.digest_json(two)
  assert digests.digest_json(one) != digests.digest_json({'a': 1, 'b': [1.6]})


def test_known_values_stay():
  # Checkpoints on disk hold digests like these.
  array = np.arange(6, dtype=np.int32).reshape(2, 3)
  assert digests.digest_array(array) == '9af876943cf75432d0754c126596577e'
  found = digests.digest_json({'b': 1, 'a': [None]})
  assert found == '9ca11427d9dbf3f5d2cb9dc62c874379'
  assert f'{_sum(array):016x}' == '4818f04de8ebe215'


def test_file_digest_is_the_sha256_of_the_content(tmp_path):
  content = b'x' * (3 << 20) + b'y'
  (tmp_path / 'a').write_bytes(content)
  expected = hashlib.sha256(content).hexdigest()
  assert digests.file_digest(tmp_path / 'a') == expected
