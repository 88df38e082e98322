"""Captions are read as texts are, and at first not at all."""

import dataclasses
import logging

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from phenaki_jax import sharding
from phenaki_jax.nn.blocks import Block
from phenaki_jax.nn.config import PortsConfig, TransformerConfig
from phenaki_jax.nn.ports import Memory
from phenaki_jax.runs.retrofit import grown, with_readers
from phenaki_jax.training.generator_task import GeneratorTask

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


def test_new_leaves_of_all_blocks_are_named_once(tiny_sampler, caplog):
  caplog.set_level(logging.INFO)
  models, given = tiny_sampler.models, tiny_sampler.generator_params
  ports = PortsConfig(memory=('history',), memory_every=1)
  task = GeneratorTask(
    config=dataclasses.replace(models.generator, ports=ports, num_layers=2),
    text=models.text,
    tokenizer=models.tokenizer,
    tokenizer_params={},
  )
  blocks = given['generator']['blocks']
  two = {'block_0': blocks['block_0'], 'block_1': blocks['block_0']}
  generator = {**given['generator'], 'blocks': {**blocks, **two}}
  grown(task, {**given, 'generator': generator}, 'runs/old')
  (message,) = caplog.messages
  assert message.startswith('start_from=runs/old has no generator/')
  assert message.count('captions/gate') == 1 and 'block_*/' in message
  assert 'block_0' not in message
