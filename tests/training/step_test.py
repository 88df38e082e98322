"""A step agrees on every mesh, and applies only finite updates."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import real
import toy

from phenaki_jax import rng as rngs
from phenaki_jax import sharding
from phenaki_jax.sharding import MeshConfig
from phenaki_jax.training import metrics
from phenaki_jax.training.config import OptimConfig
from phenaki_jax.training.optim import make_optimizer, make_schedule
from phenaki_jax.training.state import (
  abstract_state,
  boxed_params,
  create_state,
  place_frozen,
)
from phenaki_jax.training.step import check_finite, compile_step, make_step

MESHES = {
  (1,): MeshConfig(data=1),
  (8,): MeshConfig(),
  (4, 2): MeshConfig(data=4, fsdp=2),
  (2, 2, 2): MeshConfig(data=2, fsdp=2, tensor=2),
}
OPTIM = OptimConfig(learning_rate=0.01, warmup_steps=0, ema_decay=0.9)


def _optimizer(task, config=OPTIM):
  return make_optimizer(
    config, steps=10, params=boxed_params(task), opponents=task.opponents
  )


def _run(task, batches, mesh, config=OPTIM):
  """Take a step per batch; return the states and metrics on the host."""
  optimizer = _optimizer(task, config)
  with jax.set_mesh(mesh):
    abstract = abstract_state(task, optimizer, mesh)
    state = create_state(task, optimizer, abstract, rngs.root(0))
    step = make_step(task, optimizer, ema_decay=config.ema_decay)
    compiled = compile_step(step, abstract)
    frozen = place_frozen(task, mesh)
    seen = [jax.device_get(state)]
    logged = []
    for batch in batches:
      state, results = compiled(
        state,
        sharding.global_batch(batch, mesh),
        rngs.root(1),
        frozen,
      )
      seen.append(jax.device_get(state))
      logged.append(metrics.fetched(results))
  return seen, logged


def _mesh(shape):
  devices = jax.devices()[: int(np.prod(shape))]
  return sharding.make_mesh(MESHES[shape], devices=devices)


def _assert_meshes_agree(task, batch, shapes):
  reference = None
  for shape in shapes:
    (before, after), (logged,) = _run(task, [batch], _mesh(shape))
    values = metrics.finalise(logged)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), before, after)
    assert max(jax.tree.leaves(moved.params)) > 1e-4
    if reference is None:
      reference = (after, values)
      continue
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
      after,
      reference[0],
    )
    assert values == pytest.approx(reference[1], rel=1e-4, abs=1e-5)


def test_steps_of_the_toy_agree_on_every_mesh():
  _assert_meshes_agree(toy.ToyTask(), toy.batch(0), MESHES)


@pytest.mark.slow
@pytest.mark.unoptimized
def test_the_tokenizer_agrees_on_every_mesh():
  _assert_meshes_agree(real.tokenizer_task(), real.batch(0), MESHES)


@pytest.mark.slow
@pytest.mark.unoptimized
def test_the_generator_agrees_on_every_mesh():
  """With the same hidden tokens, histories, dropped captions and dropout."""
  task = real.generator_task(dropout=0.1, history=True)
  _assert_meshes_agree(task, real.batch(0, history=True), MESHES)


def test_the_state_is_sharded_when_created():
  task, mesh = toy.ToyTask(), _mesh((2, 2, 2))
  optimizer = _optimizer(task)
  with jax.set_mesh(mesh):
    abstract = abstract_state(task, optimizer, mesh)
    state = create_state(task, optimizer, abstract, rngs.root(0))
  kernels = [
    leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    if 'kernel' in jax.tree_util.keystr(path)
  ]
  # Parameters, their average, and both of Adam's moments.
  assert len(kernels) == 4
  for kernel in kernels:
    assert kernel.sharding.shard_shape(kernel.shape) == (6, 8)
  assert int(state.step) == 0


def test_the_state_is_donated_and_keeps_its_sharding():
  task, mesh = toy.ToyTask(), _mesh((4, 2))
  optimizer = _optimizer(task)
  with jax.set_mesh(mesh):
    abstract = abstract_state(task, optimizer, mesh)
    state = create_state(task, optimizer, abstract, rngs.root(0))
    step = make_step(task, optimizer, ema_decay=OPTIM.ema_decay)
    compiled = compile_step(step, abstract)
    batch = sharding.global_batch(toy.batch(0), mesh)
    after, _ = compiled(state, batch, rngs.root(1), task.frozen)
  assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
  jax.tree.map(
    lambda leaf, planned: (
      leaf.sharding.is_equivalent_to(planned.sharding, leaf.ndim)
      or pytest.fail(f'{leaf.sharding} is not {planned.sharding}')
    ),
    after,
    abstract,
  )


def test_the_same_step_twice_is_the_same_bits():
  batches = [toy.batch(step) for step in range(3)]
  first, _ = _run(toy.ToyTask(), batches, _mesh((1,)))
  second, _ = _run(toy.ToyTask(), batches, _mesh((1,)))
  jax.tree.map(np.testing.assert_array_equal, first, second)


def _unchanged(before, after):
  same = jax.tree.map(
    lambda a, b: bool(np.array_equal(a, b)),
    (before.params, before.ema, before.opt_state),
    (after.params, after.ema, after.opt_state),
  )
  return all(jax.tree.leaves(same))


def test_a_step_that_is_not_finite_changes_nothing():
  batches = [toy.batch(0), toy.batch(1, spoil_at=1), toy.batch(2)]
  states, logged = _run(toy.ToyTask(), batches, _mesh((8,)))
  assert not _unchanged(states[0], states[1])
  assert _unchanged(states[1], states[2])
  assert not _unchanged(states[2], states[3])
  assert [int(state.step) for state in states] == [0, 1, 2, 3]
  assert [m['nonfinite'].sum for m in logged] == [0, 1, 0]
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(states[3]))


class SteepTask(toy.ToyTask):
  """Have a finite loss whose gradient is not finite."""

  def loss(self, *args, **options):
    loss, results = super().loss(*args, **options)
    params = args[0]
    # The square root has an infinite derivative at zero.
    return loss + jnp.sqrt(jnp.square(params['bias'] * 0.0).sum()), results


def test_a_gradient_that_is_not_finite_changes_nothing():
  states, logged = _run(SteepTask(), [toy.batch(0)], _mesh((1,)))
  assert _unchanged(*states)
  assert np.isfinite(logged[0]['loss'].sum)
  with pytest.raises(FloatingPointError, match=r'Step 1 .*\(gradient_norm'):
    check_finite(1, logged[0])


def test_the_error_names_the_step_and_the_terms():
  _, logged = _run(toy.ToyTask(), [toy.batch(4, spoil_at=4)], _mesh((1,)))
  with pytest.raises(FloatingPointError) as caught:
    check_finite(5, logged[0])
  assert 'Step 5 is not finite (loss, spoil)' in str(caught.value)


def test_a_finite_step_passes():
  _, logged = _run(toy.ToyTask(), [toy.batch(0)], _mesh((1,)))
  check_finite(1, logged[0])


@pytest.mark.parametrize('optimizer', ['adamw', 'muon'])
def test_two_players_are_clipped_optimized_and_averaged_apart(optimizer):
  config = dataclasses.replace(OPTIM, optimizer=optimizer, clip_norm=1e-3)
  task, mesh = toy.DuelTask(), _mesh((1,))
  states, (logged,) = _run(task, [toy.batch(0)], mesh, config)
  before, after = states
  assert set(after.params) == {'critic', 'scale', 'shift'}
  assert set(after.ema) == {'scale', 'shift'}
  assert {'gradient_norm_critic', 'update_norm_critic'} < set(logged)

  def alone(part):
    """Update one player with an optimizer that knows no other."""
    boxed = boxed_params(task)
    chosen = {name: boxed[name] for name in part}
    single = make_optimizer(config, steps=10, params=chosen)
    params = {name: before.params[name] for name in part}
    key = rngs.at_step(rngs.root(1), 0)
    found = task.gradients(before.params, {}, toy.batch(0), key)[0]
    grads = {name: found[name] for name in part}
    updates, _ = single.update(grads, single.init(params), params)
    return optax.apply_updates(params, updates)

  for part in (['critic'], ['scale', 'shift']):
    expected = alone(part)
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7),
      {name: after.params[name] for name in part},
      expected,
    )


def test_an_opponent_has_a_learning_rate_and_a_decay_of_its_own():
  task = toy.DuelTask()
  boxed = boxed_params(task)
  config = dataclasses.replace(
    OPTIM, opponent_learning_rate=0.02, opponent_b1=0.0
  )
  joint = _optimizer(task, config)
  alone = make_optimizer(
    dataclasses.replace(OPTIM, learning_rate=0.02, b1=0.0),
    steps=10,
    params={'critic': boxed['critic']},
  )
  shapes = sharding.unbox(boxed)
  params = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), shapes)
  critic = {'critic': params['critic']}
  states = joint.init(params), alone.init(critic)
  # The decay matters from the second step on.
  for size in (1.0, -2.0):
    grads = jax.tree.map(lambda x, size=size: 0.01 * size * x, params)
    updates, first = joint.update(grads, states[0], params)
    expected, second = alone.update(
      {'critic': grads['critic']}, states[1], critic
    )
    states = first, second
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
      updates['critic'],
      expected['critic'],
    )
  # The model keeps its own: with a decay of 0.9 its update is another.
  assert abs(float(updates['scale'][0])) < 0.01
  assert abs(float(updates['critic']['bias'][0])) > 0.015


def test_a_late_opponent_starts_with_a_fresh_optimizer():
  start, task = 4, toy.DuelTask(start=4)
  config = dataclasses.replace(OPTIM, opponent_b1=0.0)
  optimizer = _optimizer(task, config)
  shapes = sharding.unbox(boxed_params(task))
  params = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), shapes)
  zeros = jax.tree.map(jnp.zeros_like, params)
  first = state = optimizer.init(params)
  update = jax.jit(optimizer.update)
  # A step that was skipped delays the gradients of the opponent by one.
  for step in range(start + 1):
    updates, state = update(zeros, state, params, step=step)
    assert not any(np.any(x) for x in jax.tree.leaves(updates['critic']))
  for old, new in zip(
    *(jax.tree.leaves(x.inner_states['critic']) for x in (first, state)),
    strict=True,
  ):
    np.testing.assert_array_equal(old, new)
  grads = jax.tree.map(lambda x: 0.01 * x, params)
  updates, _ = update(grads, state, params, step=start + 1)
  # The first update of an optimizer that begins now, at the rate of now.
  critic = {'critic': params['critic']}
  alone = make_optimizer(
    dataclasses.replace(OPTIM, b1=0.0),
    steps=10,
    params={'critic': boxed_params(task)['critic']},
  )
  expected, _ = jax.jit(alone.update)(
    {'critic': grads['critic']}, alone.init(critic), critic
  )
  rates = [float(make_schedule(config, steps=10)(n)) for n in (0, start + 1)]
  assert rates[1] < rates[0]
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b * rates[1] / rates[0], 1e-5),
    updates['critic'],
    expected['critic'],
  )


@pytest.mark.parametrize('optimizer', ['adamw', 'muon'])
def test_the_rate_of_a_late_opponent_is_that_of_the_run(optimizer):
  """Runs of an earlier release counted the steps before its start too."""
  task = toy.DuelTask(start=4)
  config = dataclasses.replace(OPTIM, optimizer=optimizer, weight_decay=0.0)
  chain = _optimizer(task, config)
  shapes = sharding.unbox(boxed_params(task))
  params = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), shapes)
  update = jax.jit(chain.update)

  def updated(step, count):
    state = chain.init(params)
    critic = jax.tree.map(
      lambda x: jnp.int32(count) if x.dtype == jnp.int32 else x,
      state.inner_states['critic'],
    )
    inner = {**state.inner_states, 'critic': critic}
    state = state._replace(inner_states=inner)
    return update(params, state, params, step=step)[0]['critic']['bias']

  # The count of the updates changes only the correction of Adam's moments.
  one, other = (updated(8, n) / updated(5, n) for n in (4, 8))
  rates = [float(make_schedule(config, steps=10)(n)) for n in (8, 5)]
  np.testing.assert_allclose(one, rates[0] / rates[1], 1e-5)
  np.testing.assert_allclose(other, one, 1e-5)


def test_a_late_opponent_waits_in_the_compiled_step():
  batches = [toy.batch(step) for step in range(3)]
  states, _ = _run(toy.DuelTask(start=2), batches, _mesh((1,)))
  critics = [state.params['critic'] for state in states]
  jax.tree.map(np.testing.assert_array_equal, critics[0], critics[2])
  assert np.any(critics[3]['out'] != critics[2]['out'])


def test_joint_gradients_equal_two_passes():
  task = toy.DuelTask()
  params = sharding.unbox(task.init(rngs.root(0)))
  params['critic']['out'] = jnp.linspace(-1.0, 1.0, 16)
  inputs = toy.batch(0), rngs.root(1)
  joint = task.gradients(params, {}, *inputs)[0]
  of_generator, of_critic = (
    jax.grad(lambda p, i=i: task.losses(p, *inputs)[i])(params)
    for i in range(2)
  )
  expected = {**of_generator, 'critic': of_critic['critic']}
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7),
    joint,
    expected,
  )
  assert all(np.any(leaf) for leaf in jax.tree.leaves(joint))


def test_two_players_learn():
  config = OptimConfig(
    learning_rate=0.02, warmup_steps=0, decay='constant', b1=0.5, ema_decay=0.98
  )
  batches = [toy.batch(step) for step in range(300)]
  states, _ = _run(toy.DuelTask(), batches, _mesh((1,)), config)
  means = np.array([state.ema['shift'][0] for state in states])
  assert means[0] == 0
  assert np.abs(means[-50:] - 2.0).max() < 0.3
  assert states[-1].ema['scale'][0] == pytest.approx(0.5, abs=0.25)


def test_an_opponent_that_is_not_finite_stops_both_players():
  batches = [toy.batch(0, spoil_at=0)]
  states, (logged,) = _run(toy.DuelTask(), batches, _mesh((1,)))
  assert _unchanged(*states)
  with pytest.raises(FloatingPointError, match=r'\(loss_critic\)'):
    check_finite(1, logged)
