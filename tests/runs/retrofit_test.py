"""Captions are read as texts are, and at first not at all."""

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from phenaki_jax import sharding
from phenaki_jax.nn.blocks import Block
from phenaki_jax.nn.config import TransformerConfig
from phenaki_jax.nn.ports import Memory
from phenaki_jax.runs.retrofit import with_readers

BITS = np.random.default_rng(0)
X = jnp.asarray(BITS.normal(size=(1, 2, 3, 8)), jnp.float32)
TEXT = jnp.asarray(BITS.normal(size=(1, 4, 6)), jnp.float32)
SPOKEN = jnp.array([[True, True, True, False]])
MEMORY = Memory(
  vectors=jnp.asarray(BITS.normal(size=(1, 5, 8)), jnp.float32),
  visible=jnp.zeros((1, 2, 5), bool),
  captions=Memory(
    vectors=TEXT, visible=jnp.broadcast_to(SPOKEN[:, None], (1, 2, 4))
  ),
)


def test_a_trained_block_reads_captions_as_its_texts():
  block = Block(TransformerConfig(width=8, num_heads=2, mlp_dim=8))

  def init(key):
    return block.init(key, X, text=TEXT, text_mask=SPOKEN, memory=MEMORY)

  shapes = jax.eval_shape(init, jax.random.key(0))['params']
  leaves = {
    path: jnp.asarray(BITS.normal(size=leaf.shape), jnp.float32)
    for path, leaf in flatten_dict(sharding.unbox(shapes)).items()
  }
  parts = {'memory', 'memory_norm', 'captions'}
  known = {path: x for path, x in leaves.items() if path[0] not in parts}
  missing = ['/'.join(path) for path in leaves.keys() - known.keys()]
  given = flatten_dict(with_readers(unflatten_dict(known), missing))
  assert all(given[path] is known[path] for path in known)
  # What reads images starts anew.
  created = leaves.keys() - given.keys()
  assert {path[0] for path in created} == {'memory'} and len(created) == 4
  # What the captions add, apart from the empty entry, is what a text would.
  for name in ('query', 'key', 'value', 'out'):
    path = ('captions', name, 'kernel')
    np.testing.assert_array_equal(given[path], known['cross', *path[1:]])
  scale = given['memory_norm', 'scale']
  np.testing.assert_array_equal(scale, known['cross_norm', 'scale'])

  def read(memory):
    params = unflatten_dict({**leaves, **given})
    return block.apply(
      {'params': params}, X, text=TEXT, text_mask=SPOKEN, memory=memory
    )

  without = read(MEMORY.replace(captions=None))
  np.testing.assert_array_equal(read(MEMORY), without)
  given['captions', 'gate'] = jnp.ones(2)
  assert np.abs(read(MEMORY) - without).max() > 1e-3


def test_parts_of_scanned_blocks_are_taken_over_together():
  cross = {
    'query': {'kernel': np.ones((3, 8, 2, 4))},
    'out': {'kernel': np.ones((3, 2, 4, 8))},
  }
  given = with_readers(
    {'generator': {'blocks': {'cross': cross}}},
    [
      'generator/blocks/captions/query/kernel',
      'generator/blocks/captions/gate',
    ],
  )
  found = given['generator']['blocks']['captions']
  assert found['query']['kernel'].shape == (3, 8, 2, 4)
  assert found['gate'].shape == (3, 2) and not found['gate'].any()


def test_a_model_without_texts_gives_nothing():
  given = {'generator': {'norm': {'scale': np.ones(8)}}}
  path = 'generator/blocks/block_0/captions'
  found = with_readers(given, [f'{path}/gate', f'{path}/out/kernel'])
  assert found == given
