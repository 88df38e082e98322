"""Blocks start as the identity; scan and remat do not change results."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from phenaki_jax import rng, sharding
from phenaki_jax.nn.blocks import REMAT_POLICIES, Stack
from phenaki_jax.nn.config import TransformerConfig
from phenaki_jax.nn.positions import (
  distance_features,
  grid_coordinates,
  rotary_angles,
)

GENERATOR = np.random.default_rng(0)
X = jnp.asarray(GENERATOR.normal(size=(2, 3, 4, 16)), jnp.float32)
TEXT = jnp.asarray(GENERATOR.normal(size=(2, 5, 10)), jnp.float32)
INPUTS = {
  'mask': jnp.asarray(np.tril(np.ones((1, 12, 12), bool))),
  'angles': jnp.asarray(rotary_angles(grid_coordinates(3, 2, 2), 8)),
  'distances': jnp.asarray(distance_features(grid_coordinates(3, 2, 2))),
  'text': TEXT,
  'text_mask': jnp.asarray(np.arange(5)[None] < [[3], [5]]),
}


def _stack(**changes):
  config = TransformerConfig(width=16, num_heads=2, mlp_dim=32, **changes)
  return Stack(config, num_layers=2)


def _boxed(stack):
  return jax.eval_shape(stack.init, rng.root(0), X, **INPUTS)['params']


def _awake(boxed, seed=0):
  """Draw every parameter, as those that start at zero could hide errors."""
  generator = np.random.default_rng(seed)
  return jax.tree.map(
    lambda leaf: jnp.asarray(
      generator.normal(size=leaf.shape) / leaf.shape[0] ** 0.5, jnp.float32
    ),
    sharding.unbox(boxed),
  )


def _stacked(params):
  """Stack the parameters of block_0, block_1, ... along a new first axis."""
  flat = flatten_dict(params)
  inner = {path[1:] for path in flat}
  number = len({path[0] for path in flat})
  return unflatten_dict(
    {
      ('blocks', *path): jnp.stack(
        [flat[(f'block_{i}', *path)] for i in range(number)]
      )
      for path in inner
    }
  )


def _value_and_grad(stack, params):
  def total(params, x):
    out = stack.apply({'params': params}, x, **INPUTS)
    return jnp.sum(jnp.sin(out)), out

  return jax.jit(jax.value_and_grad(total, (0, 1), has_aux=True))(params, X)


def _assert_close(one, other):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4, rtol=1e-3),
    one,
    other,
  )


def test_a_fresh_stack_is_the_identity():
  out, _ = _stack().init_with_output(rng.root(0), X, **INPUTS)
  np.testing.assert_array_equal(out, X)


def test_scan_equals_unrolled():
  unrolled, scanned = _stack(), _stack(scan=True)
  assert unrolled.config.scan != scanned.config.scan
  params = _awake(_boxed(unrolled))
  stacked = _stacked(params)
  boxed = _boxed(scanned)
  assert jax.tree.map(jnp.shape, stacked) == jax.tree.map(
    jnp.shape, sharding.unbox(boxed)
  )
  (value, out), (grads, dx) = _value_and_grad(unrolled, params)
  (value2, out2), (grads2, dx2) = _value_and_grad(scanned, stacked)
  assert float(jnp.abs(out - X).max()) > 0.1
  _assert_close((value, out, _stacked(grads), dx), (value2, out2, grads2, dx2))


def test_no_blocks_have_no_parameters():
  empty = _stack(scan=True).clone(num_layers=0)
  out, variables = empty.init_with_output(rng.root(0), X)
  assert not variables
  np.testing.assert_array_equal(out, X)


def test_scanned_parameters_gain_one_named_dimension():
  plain, scanned = (
    flatten_dict(
      sharding.map_parameters(lambda param: param.names, _boxed(stack)),
      sep='/',
    )
    for stack in (_stack(), _stack(scan=True))
  )
  assert {
    path.replace('block_0/', 'blocks/'): ('layers', *names)
    for path, names in plain.items()
    if path.startswith('block_0/')
  } == scanned


def _saved(stack, params):
  """Count the remat regions of the gradient's program."""
  program = jax.make_jaxpr(
    jax.grad(lambda p: stack.apply({'params': p}, X, **INPUTS).sum())
  )(params)
  return str(program).count('remat')


@pytest.mark.parametrize(
  ('policy', 'scan'), [('matmuls', True), ('full', False)]
)
def test_remat_changes_no_number(policy, scan):
  plain, frugal = _stack(scan=scan), _stack(scan=scan, remat=policy)
  params = _awake(_boxed(plain))
  assert _saved(plain, params) == 0 < _saved(frugal, params)
  _assert_close(_value_and_grad(plain, params), _value_and_grad(frugal, params))


def test_every_remat_policy_is_tested():
  assert set(REMAT_POLICIES) == {'none', 'matmuls', 'full'}


def test_without_text_there_is_no_cross_attention():
  x = X.reshape(2, 12, 16)
  boxed = jax.eval_shape(_stack().init, rng.root(0), x)['params']
  assert set(nn.unbox(boxed)['block_0']) == {
    *('attention_norm', 'attention', 'mlp_norm', 'mlp'),
  }
