"""The schedule, the rules of each parameter, the updates and the average."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from phenaki_jax import sharding
from phenaki_jax.errors import UserError
from phenaki_jax.masked_transformer import config as generator_config
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.text.config import TextConfig
from phenaki_jax.tokenizer import config as tokenizer_config
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.training import optim
from phenaki_jax.training.config import OptimConfig
from phenaki_jax.training.generator_task import GeneratorTask
from phenaki_jax.training.state import boxed_params
from phenaki_jax.training.tokenizer_task import TokenizerTask


def _box(shape, **rules):
  init = nn.initializers.normal(1.0)
  names = [None] * len(shape)
  key = jax.random.key(len(shape))
  return sharding.logical(init, *names, **rules)(key, shape)


def test_the_rate_rises_then_falls_to_its_end():
  config = OptimConfig(learning_rate=0.1, warmup_steps=4, end_factor=0.2)
  schedule = optim.make_schedule(config, steps=20)
  rates = np.array([schedule(step) for step in range(21)])
  np.testing.assert_allclose(rates[:4], [0.025, 0.05, 0.075, 0.1], rtol=1e-6)
  assert (np.diff(rates[4:]) < 0).all()
  # Halfway along the cosine, the rate is the mean of both ends.
  assert rates[12] == pytest.approx(0.06, rel=1e-5)
  assert rates[20] == pytest.approx(0.02, rel=1e-5)


def test_a_horizon_of_its_own_does_not_depend_on_the_length_of_the_run():
  config = OptimConfig(
    learning_rate=0.1, warmup_steps=4, end_factor=0.2, decay_steps=40
  )
  short, long = (optim.make_schedule(config, steps=s) for s in (10, 20))
  rates = np.array([short(step) for step in range(50)])
  np.testing.assert_array_equal(rates, [long(step) for step in range(50)])
  assert rates[22] == pytest.approx(0.06, rel=1e-5)
  np.testing.assert_allclose(rates[40:], 0.02, rtol=1e-5)
  # At a quarter of the paper's horizon the rate is still 85% of its peak.
  paper = OptimConfig(
    learning_rate=1e-4, warmup_steps=10_000, decay_steps=4_000_000, end_factor=0
  )
  rate = optim.make_schedule(paper, steps=1_000_000)(1_000_000)
  assert float(rate) == pytest.approx(0.85e-4, rel=0.01)
  with pytest.raises(UserError, match='decay_steps is 4; it must be more than'):
    OptimConfig(warmup_steps=4, decay_steps=4)


def test_fixed_parameters_stay_and_have_no_state():
  boxed = {
    'old': {'kernel': _box((2, 2), decay=True)},
    'new': {'kernel': _box((3, 3), decay=True)},
  }
  transform = optim.make_optimizer(
    OptimConfig(warmup_steps=0, weight_decay=0.5),
    steps=5,
    params=boxed,
    unoptimized=('old',),
  )
  params = sharding.unbox(boxed)
  state = transform.init(params)
  shapes = {leaf.shape for leaf in jax.tree.leaves(state)}
  assert (3, 3) in shapes and (2, 2) not in shapes
  updates, _ = transform.update(params, state, params)
  assert not updates['old']['kernel'].any()
  assert updates['new']['kernel'].any()


def test_a_constant_rate_stays():
  config = OptimConfig(learning_rate=0.1, warmup_steps=0, decay='constant')
  schedule = optim.make_schedule(config, steps=5)
  assert [float(schedule(s)) for s in (0, 4, 99)] == [pytest.approx(0.1)] * 3


def _tasks():
  """Yield both models, small and as in the paper, unrolled and scanned."""
  for scan in (False, True):
    for size, name in (('tiny', 'tiny'), ('paper', 'paper_0p9b')):
      layers = {'scan': scan, 'spatial_layers': 1, 'temporal_layers': 1}
      tokenizer = TokenizerConfig(**tokenizer_config.SIZES[size] | layers)
      generator = GeneratorConfig(
        **generator_config.SIZES[name] | {'scan': scan, 'num_layers': 1},
        codebook_size=tokenizer.codebook_size,
        code_levels=tokenizer.code_levels,
      )
      kind = f'{size}_{"scanned" if scan else "unrolled"}'
      yield f'tokenizer_{kind}', TokenizerTask(config=tokenizer)
      yield (
        f'generator_{kind}',
        GeneratorTask(
          config=generator,
          text=TextConfig(num_layers=1),
          tokenizer=tokenizer,
          tokenizer_params={},
        ),
      )


def test_the_rules_of_every_parameter_equal_their_golden():
  lines = []
  for name, task in _tasks():
    boxed = boxed_params(task)
    decayed = sharding.map_parameters(lambda param: param.decay, boxed)
    dimensions = jax.tree.leaves(
      sharding.map_parameters(optim.muon_dimensions, boxed), is_leaf=_is_dims
    )
    leaves = jax.tree_util.tree_leaves_with_path(decayed)
    for (path, decay), dims in zip(leaves, dimensions, strict=True):
      place = jax.tree_util.keystr(path, simple=True, separator='/')
      rule = 'decayed' if decay else 'kept'
      lines.append(f'{name} {place} {rule} {_written(dims)}')
  golden = pathlib.Path(__file__).parents[1] / 'golden/optimizer_rules.txt'
  assert lines == golden.read_text().splitlines()


def _is_dims(leaf):
  return leaf is None or hasattr(leaf, 'output_axis')


def _written(dims):
  if dims is None:
    return 'adam'
  inputs, outputs = (
    ','.join(map(str, axes)) for axes in (dims.reduction_axis, dims.output_axis)
  )
  return f'muon {inputs}->{outputs}'


def test_only_matrices_are_decayed():
  """Without a gradient, a step changes only decayed parameters."""
  boxed = {
    'kernel': _box((2, 2), decay=True),
    'bias': _box((2,)),
    'codebook': _box((4, 2)),
  }
  config = OptimConfig(weight_decay=0.5, warmup_steps=0, decay='constant')
  transform = optim.make_optimizer(config, steps=1, params=boxed)
  params = sharding.unbox(boxed)
  zeros = jax.tree.map(jnp.zeros_like, params)
  updates, _ = transform.update(zeros, transform.init(params), params)
  moved = jax.tree.map(lambda x: bool((x != 0).any()), updates)
  assert moved == {'kernel': True, 'bias': False, 'codebook': False}


def test_one_update_equals_adamw_by_hand():
  config = OptimConfig(
    learning_rate=0.1,
    warmup_steps=0,
    decay='constant',
    weight_decay=0.01,
    clip_norm=1.0,
  )
  boxed = {'kernel': _box((2, 2), decay=True)}
  transform = optim.make_optimizer(config, steps=10, params=boxed)
  params = {'kernel': jnp.full((2, 2), 2.0)}
  grads = {'kernel': jnp.array([[3.0, 0.0], [0.0, 4.0]])}
  updates, _ = transform.update(grads, transform.init(params), params)
  clipped = np.array([[0.6, 0.0], [0.0, 0.8]])
  # At the first step the corrected moments give g / (|g| + eps).
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


def test_muon_makes_hidden_updates_orthogonal_and_leaves_the_rest_to_adam():
  boxed = {
    'mlp': {'wi': {'kernel': _box((6, 4), inputs=1)}},
    'attention': {
      'qkv': {'kernel': _box((6, 3, 2, 2), inputs=1)},
      'out': {'kernel': _box((2, 2, 6), inputs=2)},
    },
    'rest_out': {'kernel': _box((6, 4))},
    'norm': {'scale': _box((6,))},
  }
  params = sharding.unbox(boxed)
  config = OptimConfig(
    optimizer='muon',
    learning_rate=1.0,
    adam_learning_rate=0.5,
    warmup_steps=0,
    decay='constant',
    weight_decay=0.0,
    clip_norm=1e6,
  )
  transform = optim.make_optimizer(config, steps=1, params=boxed)
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
    # Five Newton-Schulz iterations make the singular values similar.
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
