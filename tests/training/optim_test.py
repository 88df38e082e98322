"""The schedule, what is decayed, and the average."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from phenaki_jax import sharding
from phenaki_jax.training import optim
from phenaki_jax.training.config import OptimConfig


def test_the_rate_rises_then_falls_to_its_end():
  config = OptimConfig(learning_rate=0.1, warmup_steps=4, end_factor=0.2)
  schedule = optim.make_schedule(config, steps=20)
  rates = np.array([schedule(step) for step in range(21)])
  np.testing.assert_allclose(rates[:4], [0.025, 0.05, 0.075, 0.1], rtol=1e-6)
  assert (np.diff(rates[4:]) < 0).all()
  # Half way down the cosine lies the middle of both ends.
  assert rates[12] == pytest.approx(0.06, rel=1e-5)
  assert rates[20] == pytest.approx(0.02, rel=1e-5)


def test_a_constant_rate_stays():
  config = OptimConfig(learning_rate=0.1, warmup_steps=0, decay='constant')
  schedule = optim.make_schedule(config, steps=5)
  assert [float(schedule(s)) for s in (0, 4, 99)] == [pytest.approx(0.1)] * 3


def test_only_matrices_are_decayed():
  params = {
    'dense': {'kernel': jnp.ones((2, 2)), 'bias': jnp.ones((2,))},
    'norm': {'scale': jnp.ones((3, 2))},
    'embed': {'embedding': jnp.ones((4, 2))},
    'vq': {'codebook': jnp.ones((4, 2))},
  }
  kept = {
    'dense': {'kernel': True, 'bias': False},
    'norm': {'scale': False},
    'embed': {'embedding': False},
    'vq': {'codebook': False},
  }
  assert optim.decayed(params) == kept
  # A step without gradient moves what is decayed, and nothing else.
  config = OptimConfig(weight_decay=0.5, warmup_steps=0, decay='constant')
  transform = optim.make_optimizer(config, steps=1)
  zeros = jax.tree.map(jnp.zeros_like, params)
  updates, _ = transform.update(zeros, transform.init(params), params)
  moved = jax.tree.map(lambda x: bool((x != 0).any()), updates)
  assert moved == kept


def test_boxed_parameters_are_decayed_alike():
  def box(name):
    init = sharding.logical(nn.initializers.ones, 'embed', 'mlp')
    return {name: init(jax.random.key(0), (2, 2))}

  flat = jax.tree.leaves(optim.decayed({**box('kernel'), **box('embedding')}))
  assert flat == [False, True]


def test_one_update_equals_adamw_by_hand():
  config = OptimConfig(
    learning_rate=0.1,
    warmup_steps=0,
    decay='constant',
    weight_decay=0.01,
    clip_norm=1.0,
  )
  transform = optim.make_optimizer(config, steps=10)
  params = {'kernel': jnp.full((2, 2), 2.0)}
  grads = {'kernel': jnp.array([[3.0, 0.0], [0.0, 4.0]])}
  updates, _ = transform.update(grads, transform.init(params), params)
  clipped = np.array([[0.6, 0.0], [0.0, 0.8]])
  # At the first step both corrected means give g / (|g| + eps).
  expected = -0.1 * (clipped / (np.abs(clipped) + 1e-8) + 0.01 * 2.0)
  np.testing.assert_allclose(updates['kernel'], expected, rtol=1e-5)
  moved = optax.apply_updates(params, updates)
  assert float(moved['kernel'][1, 1]) < 2.0


def test_the_average_follows_quickly_at_first_and_slowly_later():
  ema, params = {'w': jnp.zeros(())}, {'w': jnp.ones(())}

  def moved(step, decay=0.99):
    step = jnp.int32(step)
    return float(optim.average(ema, params, decay=decay, step=step)['w'])

  assert moved(0) == pytest.approx(0.9)
  assert moved(10_000) == pytest.approx(0.01, rel=1e-4)
  assert moved(10_000, decay=0.0) == 1.0


def _hidden(key, shape):
  init = sharding.logical(nn.initializers.normal(1.0), *[None] * len(shape))
  return init(key, shape)


def test_muon_makes_hidden_updates_orthogonal_and_leaves_the_rest_to_adam():
  keys = iter(jax.random.split(jax.random.key(0), 8))
  params = sharding.unbox(
    {
      'mlp': {'wi': {'kernel': _hidden(next(keys), (6, 4))}},
      'attention': {
        'qkv': {'kernel': _hidden(next(keys), (6, 3, 2, 2))},
        'out': {'kernel': _hidden(next(keys), (2, 2, 6))},
      },
      'rest_out': {'kernel': _hidden(next(keys), (6, 4))},
      'norm': {'scale': jnp.ones(6)},
    }
  )
  config = OptimConfig(
    optimizer='muon',
    learning_rate=1.0,
    adam_learning_rate=0.5,
    warmup_steps=0,
    decay='constant',
    weight_decay=0.0,
    clip_norm=1e6,
  )
  transform = optim.make_optimizer(config, steps=1)
  gradients = jax.tree.map(
    lambda x: jax.random.normal(jax.random.key(x.size), x.shape), params
  )
  updates, _ = transform.update(gradients, transform.init(params), params)
  for update, rows in (
    (updates['mlp']['wi']['kernel'], 6),
    (updates['attention']['qkv']['kernel'], 6),
    (updates['attention']['out']['kernel'], 4),
  ):
    spread = np.linalg.svd(update.reshape(rows, -1), compute_uv=False)
    # Five Newton-Schulz steps bring all singular values near one another.
    assert spread.max() / spread.min() < 2.5
    raw = np.sqrt(np.mean(np.square(update)))
    assert 0.05 < raw < 0.3
  # The first step of Adam with Nesterov's momentum is a multiple of the sign.
  nesterov = 1.0 + 0.9 * 0.1 / (1.0 - 0.9**2)
  np.testing.assert_allclose(
    updates['rest_out']['kernel'],
    -0.5 * nesterov * np.sign(gradients['rest_out']['kernel']),
    rtol=1e-3,
  )


def test_muon_tells_scanned_kernels_from_plain_ones():
  plain = {'blocks': {'block_0': {'mlp': {'wi': {'kernel': jnp.ones((6, 4))}}}}}
  scanned = {'blocks': {'mlp': {'wi': {'kernel': jnp.ones((3, 6, 4))}}}}
  (one,) = jax.tree.leaves(
    optim.muon_dimensions(plain), is_leaf=lambda x: hasattr(x, 'output_axis')
  )
  (many,) = jax.tree.leaves(
    optim.muon_dimensions({'space': scanned}),
    is_leaf=lambda x: hasattr(x, 'output_axis'),
  )
  assert (one.reduction_axis, one.output_axis) == ((0,), (1,))
  assert (many.reduction_axis, many.output_axis) == ((1,), (2,))
