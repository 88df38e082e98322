"""Digests of a checkpoint do not depend on its sharding."""

import jax
import numpy as np

from phenaki_jax import sharding
from phenaki_jax.training.checkpoint_manifest import digest_tree, make_manifest


def test_manifest_is_the_same_on_any_mesh():
  def manifest(config, devices):
    mesh = sharding.make_mesh(config, devices=jax.devices()[:devices])
    place = jax.NamedSharding(mesh, sharding.resolve(('embed', 'mlp')))
    w = jax.device_put(np.arange(32.0, dtype=np.float32).reshape(8, 4), place)
    return make_manifest(3, {'params': {'w': w}}, {'data': {'s': 3}})

  one = manifest(sharding.MeshConfig(), 1)
  many = manifest(sharding.MeshConfig(data=2, fsdp=2, tensor=2), 8)
  assert one == many
  assert one['arrays']['params/w']['shape'] == [8, 4]


def test_tree_digest_depends_on_names():
  w = np.ones(3)
  assert digest_tree({'a': w}) != digest_tree({'b': w})
  assert digest_tree({}) == digest_tree({})


def test_known_digest_stays():
  # Checkpoints on disk hold digests like this one.
  tree = {'b': {'w': np.ones(3, np.float32)}, 'a': np.zeros((), np.int32)}
  assert digest_tree(tree) == '89668e7e8431e2396fba45a70f2be0d6'
