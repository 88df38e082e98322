"""Random keys depend on the root, the step and the name only."""

import collections

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax import rng
from phenaki_jax.masked_transformer.tasks import TASKS, Clips, known_tokens
from phenaki_jax.sampling.config import DecodeConfig
from phenaki_jax.sampling.decode import decode


def _bits(key):
  return jax.random.key_data(key).tolist()


def test_stream_bits_never_change():
  # If these numbers changed, resumed runs would differ.
  key = rng.stream(rng.at_step(rng.root(7), 812), 'dropout')
  assert _bits(key) == [2064142747, 702321619]


def test_keys_differ_by_seed_step_and_name():
  keys = [
    _bits(rng.stream(rng.at_step(rng.root(seed), step), name))
    for seed in (0, 1)
    for step in (0, 1, 2)
    for name in ('dropout', 'mask')
  ]
  assert len({tuple(key) for key in keys}) == len(keys)


def test_traced_step_gives_the_same_key():
  traced = jax.jit(lambda step: rng.at_step(rng.root(3), step))(np.int32(5))
  assert _bits(traced) == _bits(rng.at_step(rng.root(3), 5))


def test_bits_do_not_depend_on_the_sharding():
  mesh = jax.sharding.Mesh(np.array(jax.devices()), ('batch',))
  split = jax.NamedSharding(mesh, jax.P('batch'))

  def draw(key):
    return jax.random.uniform(key, (16, 4))

  key = rng.stream(rng.root(0), 'mask')
  one = jax.jit(draw)(key)
  many = jax.jit(draw, out_shardings=split)(key)
  np.testing.assert_array_equal(one, many)


def _uses(jaxpr):
  """Return the primitives that each variable of a program is used by."""
  found = collections.defaultdict(set)
  for equation in jaxpr.eqns:
    subs = [
      getattr(value, 'jaxpr', value)
      for value in jax.tree.leaves(
        list(equation.params.values()), is_leaf=lambda x: hasattr(x, 'jaxpr')
      )
      if hasattr(getattr(value, 'jaxpr', value), 'eqns')
    ]
    for sub in subs:
      inner = _uses(sub)
      if equation.primitive.name in ('jit', 'pjit'):
        for outer, argument in zip(equation.invars, sub.invars, strict=True):
          if isinstance(outer, jax.extend.core.Var):
            found[outer] |= inner[argument]
    if not subs:
      for variable in equation.invars:
        if isinstance(variable, jax.extend.core.Var):
          found[variable].add(equation.primitive.name)
  for uses in found.values():
    assert 'random_bits' not in uses or not uses & {
      *('random_fold_in', 'random_split')
    }, 'a key is drawn from, and another key is derived from it'
  return found


def _decoding(key):
  return decode(
    lambda ids, hidden: jnp.zeros((*ids.shape, 3)),
    ids=jnp.zeros((1, 4), jnp.int32),
    known=jnp.zeros((1, 4), bool),
    keys=key[None],
    mask_id=3,
    config=DecodeConfig(),
    temperature=jnp.ones(1),
    choice_temperature=jnp.ones(1),
  )


def _tasks(key):
  clips = Clips(
    key=key, grid=(2, 2, 2), num_latent=jnp.full(3, 2, jnp.int32), prefix=1
  )
  return known_tokens(clips, dict.fromkeys(TASKS, 0.2))


@pytest.mark.parametrize('program', [_decoding, _tasks])
def test_no_key_is_used_twice(program):
  _uses(jax.make_jaxpr(program)(rng.root(0)).jaxpr)
