"""Checksums do not depend on the sharding, and miss no part of an array."""

import jax
import numpy as np
import pytest

from phenaki_jax import sharding
from phenaki_jax.training import checkpoint_sums as sums

W = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)


def _items(config, devices):
  mesh = sharding.make_mesh(config, devices=jax.devices()[:devices])
  spec = sharding.resolve(('embed', 'mlp'))
  w = jax.device_put(W, jax.NamedSharding(mesh, spec))
  b = jax.device_put(W[0], jax.NamedSharding(mesh, jax.P()))
  return {'params': {'w': w, 'b': b}}


SHAPES = {'params/w': (8, 4), 'params/b': (4,)}
MESHES = {
  1: sharding.MeshConfig(),
  2: sharding.MeshConfig(data=2),
  4: sharding.MeshConfig(data=1, fsdp=4),
  8: sharding.MeshConfig(data=2, fsdp=2, tensor=2),
}


@pytest.mark.parametrize('every_copy', [False, True])
def test_checksums_are_the_same_on_any_mesh(every_copy):
  found = []
  for devices, config in MESHES.items():
    items = _items(config, devices)
    blocks = list(sums.held_blocks(items, every_copy=every_copy))
    # No shard twice, although there are several copies.
    assert sum(block.content.size for block in blocks) == 32 + 4
    found.append(sums.add_up([sums.sum_blocks(blocks)], SHAPES))
  assert all(one == found[0] for one in found)


def test_parts_of_processes_are_added_up():
  blocks = list(sums.held_blocks(_items(MESHES[4], 4), every_copy=False))
  whole = sums.add_up([sums.sum_blocks(blocks)], SHAPES)
  # As two processes that both hold a copy of the vector would.
  vector = [block for block in blocks if block.path == 'params/b']
  parts = [sums.sum_blocks([*blocks[::2], *vector])]
  parts.append(sums.sum_blocks([*blocks[1::2], *vector]))
  assert sums.add_up(parts, SHAPES) == whole


def test_copies_that_differ_are_refused():
  part = sums.sum_blocks(
    list(sums.held_blocks(_items(MESHES[1], 1), every_copy=False))
  )
  other = {'params/b': dict.fromkeys(part['params/b'], 1)}
  with pytest.raises(ValueError, match='copies of params/b differ'):
    sums.add_up([part, other], SHAPES)


def test_a_missing_part_is_refused():
  blocks = list(sums.held_blocks(_items(MESHES[4], 4), every_copy=False))
  with pytest.raises(ValueError, match='params/w do not make it whole'):
    sums.add_up([sums.sum_blocks(blocks[:-1])], SHAPES)


@pytest.mark.parametrize('value', [np.nan, np.inf])
@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_numbers_that_are_not_finite_are_found(value, dtype):
  array = np.arange(6).astype(jax.numpy.dtype(dtype))
  items = {'ema': {'n': np.arange(3), 'a': array}}
  sums.check_finite(list(sums.held_blocks(items, every_copy=True)))
  array[4] = value
  with pytest.raises(ValueError, match='ema/a holds numbers'):
    sums.check_finite(list(sums.held_blocks(items, every_copy=True)))


def test_one_process_exchanges_with_itself():
  assert sums.exchange({'a': [1]}) == [{'a': [1]}]
