"""A student learns its teacher's predictions, and nothing else changes."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax import rng, sharding
from phenaki_jax.errors import UserError
from phenaki_jax.generator import Generator
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.nn.config import PortsConfig
from phenaki_jax.sampling.conditions import for_passes
from phenaki_jax.sampling.guidance import guide
from phenaki_jax.text.config import TextConfig
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.training.distillation_config import DistillationConfig
from phenaki_jax.training.distillation_task import (
  DistillationTask,
  _Advance,
  joint_divergence,
)
from phenaki_jax.training.generator_config import GeneratorTaskConfig
from phenaki_jax.training.micro_batches import gradients_of

TEXT = TextConfig(
  vocab_size=32,
  width=12,
  num_layers=1,
  num_heads=2,
  head_dim=8,
  mlp_dim=24,
  max_length=5,
)
CONFIG = GeneratorConfig(
  codebook_size=12,
  grid=(3, 2, 2),
  width=16,
  num_layers=1,
  num_heads=2,
  mlp_dim=32,
)
STEPS = DistillationConfig(
  teacher='any', guidance=2.0, temperature=0.5, steps=3
)


RECALLING = dataclasses.replace(
  CONFIG,
  ports=PortsConfig(memory=('history',), memory_every=1, memory_slots=2),
)


@functools.cache
def _params(seed, config=CONFIG):
  boxed = jax.eval_shape(
    Generator(config=config, text=TEXT).init, rng.described()
  )
  generator = np.random.default_rng(seed)
  return jax.tree.map(
    lambda leaf: jnp.asarray(
      generator.normal(size=leaf.shape) / leaf.shape[0] ** 0.5, jnp.float32
    ),
    sharding.unbox(boxed),
  )


def _task(distillation=None, config=CONFIG, **training):
  return DistillationTask(
    config=config,
    text=TEXT,
    tokenizer=TokenizerConfig(fsq_levels=(4, 3)),
    tokenizer_params={},
    training=GeneratorTaskConfig(**training),
    distillation=distillation
    or DistillationConfig(teacher='any', guidance=2.0, temperature=0.5),
    teacher_params=_params(0, config),
  )


def _batch():
  generator = np.random.default_rng(0)

  def part(*shape):
    text = generator.integers(3, 32, (shape[0], 5)).astype(np.int32)
    return {
      'tokens': generator.integers(0, 12, shape).astype(np.int32),
      'text': np.where(np.arange(5) == 4, 1, text).astype(np.int32),
    }

  clips = part(4, 3, 2, 2) | {
    'num_frames': np.array([5, 5, 3, 5], np.int32),
    'context_frames': np.array([0, 3, 0, 1], np.int32),
  }
  return jax.tree.map(jnp.asarray, {'clips': clips, 'images': part(4, 2, 2)})


@functools.cache
def _compiled(guidance):
  """Return a function of the student and the frozen arrays, with gradients."""
  task = _task(
    DistillationConfig(teacher='any', guidance=guidance, temperature=0.5)
  )

  def loss(params, frozen):
    return task.loss(params, frozen, _batch(), rng.root(0))

  return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))


def _measured(guidance, student):
  frozen = {'teacher': _params(0)}
  (loss, metrics), grads = _compiled(guidance)(_params(student), frozen)
  agreement = metrics['agreement']
  return float(loss), float(agreement.sum / agreement.count), grads


def test_a_student_that_differs_is_moved_and_nothing_else():
  loss, agreement, (ours, theirs) = _measured(0.0, 0)
  assert loss == pytest.approx(0.0, abs=1e-5)
  assert agreement == 1.0
  assert not _is_moved(ours, 1e-4) and not _is_moved(theirs)
  loss, _, (ours, theirs) = _measured(0.0, 1)
  assert loss > 0.1
  assert _is_moved(ours['text']) and _is_moved(ours['generator'])
  assert not _is_moved(theirs)


def _is_moved(tree, least=1e-6):
  return any(np.abs(np.asarray(x)).max() > least for x in jax.tree.leaves(tree))


@pytest.mark.slow
@pytest.mark.unoptimized
@pytest.mark.parametrize(
  'config', [CONFIG, RECALLING], ids=['plain', 'history']
)
def test_target_is_the_guided_prediction_of_the_sampler(config):
  task = _task(config=config, history_share=1.0 if config.ports.memory else 0.0)
  batch, bits = _batch(), np.random.default_rng(1)
  if config.ports.memory:
    batch['clips'] |= {
      'history_tokens': bits.integers(0, 12, (4, 2, 2, 2)).astype(np.int32),
      'history_text': bits.integers(3, 32, (4, 2, 5)).astype(np.int32),
      'history_count': np.array([0, 1, 2, 2], np.int32),
    }
  rows = jax.jit(task.rows)(task.frozen, batch, rng.root(0))
  # The clips alone, as the sampler sees them.
  clips = slice(0, 4)
  shown = jnp.where(rows.hidden, CONFIG.codebook_size, rows.ids)[clips]
  generator, params = Generator(config=config, text=TEXT), _params(0, config)
  texts = generator.encode_with_empty(
    params, jnp.asarray(batch['clips']['text'])
  )
  # Each with its text, then without.
  texts = jax.tree.map(
    lambda x: x[jnp.arange(8).reshape(2, 4).T.ravel()], texts
  )
  conditions = jax.tree.map(lambda x: x[clips], rows.conditions)
  both = generator.logits(
    params,
    jnp.repeat(shown, 2, axis=0),
    texts,
    segments=jnp.repeat(rows.segments[clips], 2, axis=0),
    conditions=for_passes(generator.remember(params, conditions), 2),
  )
  both = both.reshape(4, 2, *both.shape[1:])
  expected = jax.nn.log_softmax(
    guide(both[:, 0], both[:, 1], jnp.full(4, 2.0)) / 0.5, -1
  )
  found = jax.jit(task._taught)(params, rows, rng.root(0))[clips]
  real = np.asarray(rows.segments[clips] >= 0)
  np.testing.assert_allclose(
    np.asarray(found)[real], np.asarray(expected)[real], atol=1e-3
  )


@pytest.mark.slow
@pytest.mark.unoptimized
def test_tokens_of_a_step_are_compared_with_the_teacher():
  # One token of an example at a time: a student that is its teacher is right.
  single = dataclasses.replace(STEPS, guidance=0.0, steps=12)
  task = dataclasses.replace(_task(single), schedule='linear')
  gradients = jax.jit(task.gradients)

  def measured(student):
    grads, metrics = gradients(
      _params(student), task.frozen, _batch(), rng.root(0)
    )
    return grads, float(metrics['loss'].sum)

  grads, divergence = measured(0)
  assert not _is_moved(grads, 1e-4)
  assert divergence == pytest.approx(0.0, abs=1e-4)
  grads, divergence = measured(1)
  assert _is_moved(grads['generator']) and _is_moved(grads['text'])
  assert divergence > 0.1


def test_divergence_is_that_of_the_joint_distribution():
  draws = np.random.default_rng(0)
  joint = draws.dirichlet(np.full(27, 0.5)).reshape(3, 3, 3)
  alone = draws.dirichlet(np.ones(3), 3)
  product = np.einsum('a,b,c->abc', *alone)
  expected = np.sum(product * np.log(product / joint))
  found = jnp.log(jnp.asarray(alone, jnp.float32))
  estimates = []
  for size in range(3):
    parts = list(itertools.combinations(range(3), size))
    for part in parts:
      for values in itertools.product(range(3), repeat=size):
        given = joint.copy()
        chance = 1 / len(parts)
        for place, value in zip(part, values, strict=True):
          others = [x for x in range(3) if x != value]
          np.moveaxis(given, place, 0)[others] = 0
          chance *= alone[place, value]
        wanted = [
          given.sum(tuple({0, 1, 2} - {place})) / given.sum()
          for place in range(3)
        ]
        estimate = joint_divergence(
          found[None],
          jnp.log(jnp.asarray([wanted], jnp.float32)),
          jnp.ones((1, 3), bool),
          jnp.asarray([[place not in part for place in range(3)]]),
        )
        estimates.append(chance * float(estimate) / 3)
  assert sum(estimates) == pytest.approx(expected, rel=1e-4)


def test_a_token_that_the_teacher_excludes_is_no_infinite_loss():
  found = jnp.log(jnp.asarray([[[0.5, 0.5]]]))
  wanted = jnp.asarray([[[0.0, -jnp.inf]]])
  all_of_it = jnp.ones((1, 1), bool)
  loss = joint_divergence(found, wanted, all_of_it, all_of_it)
  assert float(loss) == pytest.approx(6 - np.log(2), abs=1e-5)
  none = jnp.zeros((1, 1), bool)
  assert float(joint_divergence(found, wanted, all_of_it, none)) == 0


def test_a_drawn_part_is_shown_and_the_rest_is_judged():
  task = _task(STEPS)
  make = jax.jit(
    lambda key: [
      task._rows(_batch(), key, _Advance(share=share), 1)
      for share in (0.0, 1.0)
    ]
  )
  rows, after = make(rng.root(1))
  uncovered = np.asarray(rows.hidden & ~after.hidden)
  logits = np.random.default_rng(0).normal(size=(*rows.ids.shape, 12))
  logits = 60 * logits  # Every draw is the largest one.
  state, judged = jax.jit(task._revealed)(
    rows, jnp.asarray(uncovered), jnp.asarray(logits, jnp.float32), rng.root(0)
  )
  drawn = logits.argmax(-1)
  shown = uncovered & ~np.asarray(judged)
  assert shown.any() and np.asarray(judged).any()
  assert not (np.asarray(judged) & ~uncovered).any()
  expected = np.where(shown, drawn, rows.ids)
  np.testing.assert_array_equal(state.ids, expected)
  np.testing.assert_array_equal(state.hidden, rows.hidden & ~shown)


def test_states_are_those_of_the_decoding_steps():
  task = _task(STEPS)
  tokens = _batch()
  shares = []
  make = jax.jit(
    lambda key: [
      task._rows(tokens, key, _Advance(share=share), 1).hidden
      for share in (0.0, 0.5, 1.0)
    ]
  )
  for seed in range(20):
    states = make(rng.root(seed))
    first, middle, last = map(np.asarray, states)
    assert (middle <= first).all() and (last <= middle).all()
    # Context and padding are known.
    assert not first[1, :2].any() and not first[2, 2].any()
    assert not first[3, 0].any()
    shares.append((first[0].sum(), last[0].sum()))
  # The cosine leaves 12, 10 and 6 of 12 tokens at the starts of three steps.
  assert set(shares) == {(12, 10), (10, 6), (6, 0)}


def test_states_have_the_schedule_of_the_decoding():
  task = dataclasses.replace(_task(STEPS, schedule='cosine'), schedule='linear')
  shares = jax.jit(
    lambda key: [
      task._rows(_batch(), key, _Advance(share=share), 1).hidden[0].sum()
      for share in (0.0, 1.0)
    ]
  )
  found = {tuple(map(int, shares(rng.root(seed)))) for seed in range(20)}
  assert found == {(12, 8), (8, 4), (4, 0)}


@pytest.mark.slow
@pytest.mark.unoptimized
def test_micro_batches_have_the_gradient_of_the_batch():
  task = _task()
  whole, parts = (
    jax.jit(gradients_of(task, parts=number, canonical=False))(
      _params(1), task.frozen, {'clips': _batch()['clips']}, rng.root(0)
    )[0]
    for number in (1, 2)
  )
  for one, other in zip(
    jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True
  ):
    np.testing.assert_allclose(one, other, atol=1e-5)
  with pytest.raises(UserError, match='or distillation.steps=0'):
    gradients_of(_task(STEPS), parts=2, canonical=False)


def test_checkpoints_are_bound_to_the_tokenizer_alone():
  task = _task()
  assert task.bound == {}
  assert set(task.frozen) == {'teacher'}
  boxed = jax.eval_shape(task.init_frozen, rng.described())
  shapes = jax.tree.map(jnp.shape, task.frozen['teacher'])
  assert jax.tree.map(jnp.shape, sharding.unbox(boxed)['teacher']) == shapes
