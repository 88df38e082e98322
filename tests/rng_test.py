"""Random keys depend on the root, the step and the name only."""

import jax
import numpy as np

from phenaki_jax import rng


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
