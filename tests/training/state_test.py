"""The state and the frozen arrays are described before they are created."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import real
import toy
from flax import linen as nn
from flax.traverse_util import flatten_dict

from phenaki_jax import rng as rngs
from phenaki_jax import sharding
from phenaki_jax.masked_transformer.config import SIZES, GeneratorConfig
from phenaki_jax.nn.config import PortsConfig
from phenaki_jax.training.config import OptimConfig
from phenaki_jax.training.optim import make_optimizer
from phenaki_jax.training.state import (
  Task,
  abstract_frozen,
  abstract_state,
  boxed_params,
  create_state,
  missing_leaves,
  place_frozen,
)


def _optimizer(task):
  return make_optimizer(OptimConfig(), steps=3, params=boxed_params(task))


def _mesh():
  return sharding.make_mesh(
    sharding.MeshConfig(data=1, fsdp=1, tensor=2), devices=jax.devices()[:2]
  )


def test_the_toy_is_a_task():
  assert isinstance(toy.ToyTask(), Task)


def test_the_created_state_is_as_described():
  mesh = _mesh()
  with jax.set_mesh(mesh):
    task, optimizer = toy.ToyTask(), _optimizer(toy.ToyTask())
    abstract = abstract_state(task, optimizer, mesh)
    state = create_state(task, optimizer, abstract, rngs.root(0))
  described = jax.tree.map(lambda x: (x.shape, x.dtype), abstract)
  made = jax.tree.map(lambda x: (x.shape, x.dtype), state)
  assert jax.tree.leaves(described) == jax.tree.leaves(made)
  assert jax.tree.structure(abstract) == jax.tree.structure(state)


class NamelessTask(toy.ToyTask):
  def init(self, rng):
    return {**super().init(rng), 'extra': jnp.ones((2,))}


class OddTask(toy.ToyTask):
  def init(self, rng):
    init = sharding.logical(nn.initializers.ones, 'mlp')
    return {'w': init(rng, (3,))}


def test_a_parameter_without_names_is_refused():
  with pytest.raises(ValueError, match='extra carries no logical axis names'):
    _optimizer(NamelessTask())
  with pytest.raises(ValueError, match='extra carries no logical axis names'):
    abstract_state(NamelessTask(), optax.sgd(0.1), _mesh())


def test_a_parameter_that_does_not_divide_is_refused_unless_stated():
  task, optimizer = OddTask(), _optimizer(OddTask())
  with pytest.raises(ValueError, match="w: dimension 0 .'mlp', size 3"):
    abstract_state(task, optimizer, _mesh())
  abstract = abstract_state(task, optimizer, _mesh(), uneven='replicate')
  assert abstract.params['w'].sharding.is_fully_replicated


def test_frozen_arrays_are_sharded_by_name():
  task = real.generator_task()
  mesh = sharding.make_mesh(
    sharding.MeshConfig(data=2, fsdp=2, tensor=2), devices=jax.devices()
  )
  placed = place_frozen(task, mesh)
  jax.tree.map(np.testing.assert_array_equal, placed, task.frozen)
  # Exactly like the tokenizer's parameters when it is trained.
  trained = real.tokenizer_task()
  state = abstract_state(trained, _optimizer(trained), mesh)
  same = jax.tree.map(
    lambda leaf, planned: leaf.sharding == planned.sharding,
    placed,
    state.params,
  )
  assert all(jax.tree.leaves(same))
  kernel = placed['encoder']['space']['block_0']['mlp']['wi']['kernel']
  assert kernel.shape == (16, 32)
  assert {s.data.shape for s in kernel.addressable_shards} == {(8, 16)}


def test_a_task_is_described_without_devices_or_arrays():
  mesh = jax.sharding.AbstractMesh((4, 8, 2), sharding.MESH_AXES)
  config = GeneratorConfig(**SIZES['paper_0p9b'])
  task = dataclasses.replace(
    real.generator_task(), config=config, tokenizer_params=None
  )
  before = len(jax.live_arrays())
  optimizer = _optimizer(task)
  state = abstract_state(task, optimizer, mesh, uneven='replicate')
  frozen = abstract_frozen(task, mesh, uneven='replicate')
  assert len(jax.live_arrays()) == before
  leaves = jax.tree.leaves((state, frozen))
  assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves)
  kernel = state.params['generator']['blocks']['blocks']['mlp']['wi']['kernel']
  assert kernel.shape == (20, 1536, 6144)
  assert kernel.sharding.shard_shape(kernel.shape) == (20, 192, 3072)


def _ported(task):
  """Add all ports to a generator."""
  tokenizer = task.tokenizer
  ports = PortsConfig(
    canvas=True,
    patch=(tokenizer.tubelet, *tokenizer.patch),
    memory=('source',),
    memory_every=1,
    scalars=('fps',),
  )
  config = dataclasses.replace(task.config, ports=ports)
  return dataclasses.replace(task, config=config)


def test_ports_that_are_added_are_optimized_and_kept():
  """Their parameters are in the state, all of which a checkpoint holds."""
  plain = dataclasses.replace(real.generator_task(), tokenizer_params=None)
  task = _ported(plain)
  trained = sharding.unbox(boxed_params(plain))
  new = missing_leaves(task, trained)
  # The canvas has 2, the memory 2 and 5 in the block, scalars 4 and 2 gains.
  assert len(new) == 2 + (2 + 5) + (4 + 2)
  assert all(name.startswith('generator/') for name in new)
  state = abstract_state(task, _optimizer(task), _mesh(), uneven='replicate')
  moments = state.opt_state[1].mu
  for tree in (state.params, state.ema, moments):
    found = flatten_dict(tree, sep='/').keys()
    assert found - flatten_dict(trained, sep='/').keys() == set(new)


class GroupedTask(toy.ToyTask):
  def init(self, rng):
    return {'net': super().init(rng)}


def test_a_start_may_lack_some_parameters():
  """They stay as they are created, and the others are the given ones."""
  task = GroupedTask()
  given = {'net': {'bias': np.full(16, 3.0, np.float32)}}
  task.given = given
  assert missing_leaves(task, given) == ['net/kernel', 'net/out']
  mesh, optimizer = _mesh(), _optimizer(task)
  abstract = abstract_state(task, optimizer, mesh)
  state = create_state(task, optimizer, abstract, rngs.root(0))
  task.given = {}
  fresh = create_state(task, optimizer, abstract, rngs.root(0))
  for found, first in ((state.params, fresh.params), (state.ema, fresh.ema)):
    assert (found['net']['bias'] == 3).all()
    assert not first['net']['bias'].any()
    for name in ('kernel', 'out'):
      np.testing.assert_array_equal(found['net'][name], first['net'][name])
