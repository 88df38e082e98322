"""The state is described before it is made."""

import jax
import jax.numpy as jnp
import pytest
import toy
from flax import linen as nn

from phenaki_jax import rng as rngs
from phenaki_jax import sharding
from phenaki_jax.training.config import OptimConfig
from phenaki_jax.training.optim import make_optimizer
from phenaki_jax.training.state import Task, abstract_state, create_state

OPTIMIZER = make_optimizer(OptimConfig(), steps=3)


def _mesh():
  return sharding.make_mesh(
    sharding.MeshConfig(data=1, fsdp=1, tensor=2), devices=jax.devices()[:2]
  )


def test_the_toy_is_a_task():
  assert isinstance(toy.ToyTask(), Task)


def test_what_is_made_is_what_was_described():
  mesh = _mesh()
  with jax.set_mesh(mesh):
    abstract = abstract_state(toy.ToyTask(), OPTIMIZER, mesh)
    state = create_state(toy.ToyTask(), OPTIMIZER, abstract, rngs.root(0))
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


def test_a_parameter_without_names_is_refused_before_anything_is_made():
  with pytest.raises(ValueError, match='extra carries no logical axis names'):
    abstract_state(NamelessTask(), OPTIMIZER, _mesh())


def test_a_parameter_that_does_not_divide_is_refused_unless_stated():
  with pytest.raises(ValueError, match="w: dimension 0 .'mlp', size 3"):
    abstract_state(OddTask(), OPTIMIZER, _mesh())
  abstract = abstract_state(OddTask(), OPTIMIZER, _mesh(), uneven='replicate')
  assert abstract.params['w'].sharding.is_fully_replicated
