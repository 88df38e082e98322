"""Digests change with any change of the content."""

import hashlib

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


def test_file_digest_is_the_sha256_of_the_content(tmp_path):
  content = b'x' * (3 << 20) + b'y'
  (tmp_path / 'a').write_bytes(content)
  expected = hashlib.sha256(content).hexdigest()
  assert digests.file_digest(tmp_path / 'a') == expected
