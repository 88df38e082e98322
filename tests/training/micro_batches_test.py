"""Micro-batches add up to the batch, with the same bits on any devices."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import real
import toy

from phenaki_jax import rng as rngs
from phenaki_jax import sharding
from phenaki_jax.errors import UserError
from phenaki_jax.sharding import MeshConfig
from phenaki_jax.training import metrics
from phenaki_jax.training.config import OptimConfig, TrainConfig
from phenaki_jax.training.metrics import Mean
from phenaki_jax.training.micro_batches import (
  Divided,
  check_divisible,
  gradients_of,
  join,
  split,
)
from phenaki_jax.training.optim import make_optimizer
from phenaki_jax.training.state import (
  abstract_state,
  boxed_params,
  create_state,
  place_frozen,
)
from phenaki_jax.training.step import compile_step, make_step

OPTIM = OptimConfig(learning_rate=0.01, warmup_steps=0, ema_decay=0.9)
# Metrics that are not of a whole batch.
OF_PARTS = ('codes/usage', 'codes/perplexity')


class WeightedTask(toy.ToyTask):
  """Denoise rows of unequal weights, with noise of the whole batch."""

  def loss(self, params, frozen, batch, rng, *, deterministic=False):
    (part, totals) = self._noisy(batch, rng)
    return self.part_loss(params, frozen, part, rng, totals)

  def divided(self, frozen, batch, rng, *, parts, ways, each):
    # The devices compute the pixels of each micro-batch.
    batch = each(lambda x: x, batch)
    part, totals = self._noisy(batch, rng)
    return Divided(parts=split(part, parts, ways=ways), totals=totals)

  def _noisy(self, batch, rng):
    x = batch['clips']['pixels'].astype(jnp.float32) / 255.0
    noise = jax.random.normal(rngs.stream(rng, 'noise'), x.shape)
    weights = 1.0 + jnp.floor(3.0 * x[:, 0])
    part = {'x': x, 'noise': noise, 'weights': weights}
    return part, {'rows': weights.sum()}

  def part_loss(self, params, frozen, part, rng, totals):
    del rng
    x = part['x']
    y = toy.Net().apply({'params': params}, x + 0.1 * part['noise'])
    square = jnp.square(y - x - frozen['offset']).mean(-1)
    loss = Mean.of(square, part['weights'])
    return loss.sum / totals['rows'], {'loss': jax.lax.stop_gradient(loss)}


def _run(task, batches, mesh, **options):
  """Take a step per batch; return the states and metrics on the host."""
  optimizer = make_optimizer(OPTIM, steps=10, params=boxed_params(task))
  with jax.set_mesh(mesh):
    abstract = abstract_state(task, optimizer, mesh)
    state = create_state(task, optimizer, abstract, rngs.root(0))
    step = make_step(task, optimizer, ema_decay=OPTIM.ema_decay, **options)
    compiled = compile_step(
      step, abstract, canonical=options.get('canonical', False)
    )
    frozen = place_frozen(task, mesh)
    seen = []
    for batch in batches:
      batch = sharding.global_batch(batch, mesh)
      state, results = compiled(state, batch, rngs.root(1), frozen)
      seen.append(jax.device_get((state, results)))
  return seen


def _mesh(data, fsdp=1, tensor=1):
  config = MeshConfig(data=data, fsdp=fsdp, tensor=tensor)
  devices = jax.devices()[: data * fsdp * tensor]
  return sharding.make_mesh(config, devices=devices)


def _assert_canonical(task, batches, meshes):
  """The same bits on every mesh; the fast mode agrees at the first step."""
  reference = None
  for mesh in meshes:
    seen = _run(task, batches, mesh, micro_batches=8, canonical=True)
    reference = reference or seen
    jax.tree.map(np.testing.assert_array_equal, seen, reference)
  (state, results), *_ = _run(task, batches[:1], meshes[-1])
  assert results['loss'].sum / results['loss'].count == pytest.approx(
    reference[0][1]['loss'].sum / reference[0][1]['loss'].count, abs=1e-5
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
    state.params,
    reference[0][0].params,
  )


def test_canonical_steps_are_the_same_bits_on_any_devices():
  batches = [toy.batch(step) for step in range(3)]
  meshes = [_mesh(1), _mesh(2), _mesh(8), _mesh(2, 2, 2)]
  _assert_canonical(WeightedTask(), batches, meshes)


@pytest.mark.slow
@pytest.mark.unoptimized
@pytest.mark.parametrize('kind', ['tokenizer', 'generator'])
def test_canonical_models_are_the_same_bits_on_any_devices(kind):
  task = getattr(real, f'{kind}_task')()
  batches = [real.batch(step) for step in range(2)]
  if kind == 'generator':
    # 8 clips and 16 images, in 16 rows.
    batches = [_more_images(batch) for batch in batches]
  meshes = [_mesh(1), _mesh(2), _mesh(8)]
  _assert_canonical(task, batches, meshes)


def _more_images(batch):
  images = {k: np.concatenate([x, x[::-1]]) for k, x in batch['images'].items()}
  return {**batch, 'images': images}


def _assert_adds_up(task, batch, mesh, parts, atol=1e-6):
  """Compare gradients and metrics of micro-batches with those of the batch."""
  with jax.set_mesh(mesh):
    params = sharding.unbox(jax.jit(task.init)(rngs.root(0)))
    inputs = params, task.frozen, batch, rngs.root(1)
    whole, parted = (
      jax.device_get(
        jax.jit(gradients_of(task, parts=count, canonical=False))(*inputs)
      )
      for count in (1, parts)
    )
  largest = max(np.abs(x).max() for x in jax.tree.leaves(whole[0]))
  assert largest > 100 * atol
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=atol),
    parted[0],
    whole[0],
  )
  found, expected = (metrics.finalise(x[1]) for x in (parted, whole))
  for name in OF_PARTS:
    found.pop(name, None), expected.pop(name, None)
  assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('parts', [2, 8])
def test_micro_batches_add_up_to_a_batch_of_unequal_weights(parts):
  _assert_adds_up(WeightedTask(), toy.batch(0), _mesh(1), parts)


def test_each_device_keeps_its_part_of_every_micro_batch():
  mesh = _mesh(4)
  _assert_adds_up(WeightedTask(), toy.batch(0), mesh, 2)
  rows = jax.device_put(jnp.arange(8), sharding.batch_sharding(mesh))
  with jax.set_mesh(mesh):
    parts = jax.jit(functools.partial(split, parts=2, ways=4))(rows)
  np.testing.assert_array_equal(parts, [[0, 2, 4, 6], [1, 3, 5, 7]])
  for shard in parts.addressable_shards:
    assert shard.data.shape == (2, 1)
  np.testing.assert_array_equal(join(parts, ways=4), rows)


@pytest.mark.slow
@pytest.mark.unoptimized
def test_micro_batches_of_a_tokenizer_add_up():
  """Clips of unequal lengths, and images, of which one batch has no clips."""
  batch = real.batch(0)
  _assert_adds_up(real.tokenizer_task(), batch, _mesh(1), 4)


@pytest.mark.slow
@pytest.mark.unoptimized
@pytest.mark.parametrize('balance', ['tokens', 'examples'])
def test_micro_batches_of_a_generator_add_up(balance):
  """With clips and packed images; captions are dropped for the whole batch."""
  task = real.generator_task()
  training = dataclasses.replace(task.training, balance=balance)
  task = dataclasses.replace(task, training=training)
  # 8 clips, and 8 images in rows of two.
  _assert_adds_up(task, real.batch(0), _mesh(2), 2)


def test_a_task_without_micro_batches_is_refused():
  for task in (toy.ToyTask(), toy.DuelTask()):
    with pytest.raises(UserError, match=r'set train\.accumulate=1'):
      check_divisible(task)
  check_divisible(WeightedTask())


def test_the_entropy_of_lfq_is_not_divided():
  task = real.tokenizer_task()
  config = dataclasses.replace(task.config, quantizer='lfq', lfq_entropy=0.1)
  with pytest.raises(UserError, match=r'or tokenizer\.lfq_entropy=0$'):
    check_divisible(dataclasses.replace(task, config=config))
  config = dataclasses.replace(config, lfq_entropy=0.0)
  check_divisible(dataclasses.replace(task, config=config))


def test_canonical_sums_need_pairs():
  assert TrainConfig(canonical=True, accumulate=8).groups(4) == 8
  assert TrainConfig(accumulate=8).groups(4) == 32
  with pytest.raises(UserError, match='power of two'):
    TrainConfig(canonical=True, accumulate=6)
