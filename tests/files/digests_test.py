"""A digest sees any change, and does not see the sharding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenaki_jax import sharding
from phenaki_jax.files import digests

TREE = {'b': {'w': 1, 'a': {'x': 2}}, 'a': 3}


def test_nested_dicts_flatten_and_nest():
  flat = digests.flatten(TREE)
  assert list(flat) == ['a', 'b/a/x', 'b/w']
  assert digests.nest(flat) == TREE


@settings(deadline=None, max_examples=50)
@given(bit=st.integers(0, 8 * 24 - 1))
def test_any_flipped_bit_changes_the_digest(bit):
  array = np.linspace(-1, 1, 6, dtype=np.float32)
  damaged = array.copy()
  damaged.view(np.uint8)[bit // 8] ^= 1 << (bit % 8)
  assert digests.digest_array(array) != digests.digest_array(damaged)


def test_type_and_shape_are_part_of_it():
  zeros = np.zeros((2, 3), np.float32)
  others = [zeros.T, zeros.reshape(6), zeros.astype(np.int32)]
  assert len({digests.digest_array(a) for a in [zeros, *others]}) == 4


@pytest.mark.parametrize('dtype', ['bfloat16', 'float32', 'int32', 'bool'])
def test_every_type_and_layout_has_one(dtype):
  array = np.asarray(jnp.arange(12).reshape(3, 4).astype(dtype))
  turned = np.asfortranarray(array)
  assert digests.digest_array(turned) == digests.digest_array(array)
  assert digests.digest_array(array[:1]) != digests.digest_array(array[1:2])


def test_json_digests_ignore_the_order_of_keys():
  one, two = {'a': 1, 'b': [1.5]}, {'b': [1.5], 'a': 1}
  assert digests.digest_json(one) == digests.digest_json(two)
  assert digests.digest_json(one) != digests.digest_json({'a': 1, 'b': [1.6]})


def test_a_manifest_is_the_same_on_any_mesh():
  def manifest(config, devices):
    mesh = sharding.make_mesh(config, devices=jax.devices()[:devices])
    place = jax.NamedSharding(mesh, sharding.resolve(('embed', 'mlp')))
    w = jax.device_put(np.arange(32.0, dtype=np.float32).reshape(8, 4), place)
    return digests.make_manifest(3, {'params': {'w': w}}, {'data': {'s': 3}})

  one = manifest(sharding.MeshConfig(), 1)
  many = manifest(sharding.MeshConfig(data=2, fsdp=2, tensor=2), 8)
  assert one == many
  assert one['arrays']['params/w']['shape'] == [8, 4]


def test_a_tree_digest_depends_on_names():
  w = np.ones(3)
  assert digests.digest_tree({'a': w}) != digests.digest_tree({'b': w})
  assert digests.digest_tree({}) == digests.digest_tree({})
