"""Critics learn to tell real tokens from drawn ones, at hidden positions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from phenaki_jax import rng, sharding
from phenaki_jax.generator import EncodedTexts, Generator
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.text.config import TextConfig
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.training.config import OptimConfig
from phenaki_jax.training.critic_loss import critic_loss
from phenaki_jax.training.generator_config import GeneratorTaskConfig
from phenaki_jax.training.generator_task import GeneratorTask
from phenaki_jax.training.metrics import fetched, finalise
from phenaki_jax.training.optim import make_optimizer
from phenaki_jax.training.rows import clip_rows
from phenaki_jax.training.state import (
  abstract_state,
  boxed_params,
  create_state,
)
from phenaki_jax.training.step import compile_step, make_step

GRID, CODES, ROWS = (2, 2, 2), 4, 64
TEXT = TextConfig(
  vocab_size=8,
  width=8,
  num_layers=1,
  num_heads=1,
  head_dim=8,
  mlp_dim=8,
  max_length=2,
)


def _generator(critic):
  config = GeneratorConfig(
    codebook_size=CODES,
    grid=GRID,
    width=16,
    num_layers=1,
    num_heads=2,
    mlp_dim=32,
    critic=critic,
    critic_layers=1,
  )
  return Generator(config=config, text=TEXT)


@functools.cache
def _params(critic):
  """Draw every parameter; initialising the networks would be compiled."""
  boxed = jax.eval_shape(_generator(critic).init, rng.root(0))
  draws = np.random.default_rng(0)
  return jax.tree.map(
    lambda leaf: jnp.asarray(draws.normal(0, 0.2, leaf.shape), leaf.dtype),
    sharding.unbox(boxed),
  )


def _rows(key, share=0.5):
  """Return rows of equal tokens, so that a drawn token differs from others."""
  key_ids, key_hidden = jax.random.split(key)
  ids = jax.random.randint(key_ids, (ROWS, 1, 1, 1), 0, CODES, jnp.int32)
  hidden = jax.random.bernoulli(key_hidden, share, (ROWS, *GRID))
  return clip_rows(
    jnp.broadcast_to(ids, (ROWS, *GRID)),
    hidden,
    jnp.full(ROWS, GRID[0], jnp.int32),
    jnp.ones((ROWS, TEXT.max_length), jnp.int32),
  )


def _loss(critic, params, rows, key):
  generator = _generator(critic)
  texts = generator.encode(params, rows.texts)
  # A generator that knows nothing: its draws are uniform.
  logits = jnp.zeros((*rows.ids.shape, CODES))
  found = critic_loss(generator, params, rows, texts, logits, key)
  return found.loss, found.metrics


def test_only_hidden_tokens_count_and_true_draws_are_real():
  rows = _rows(rng.root(1))
  # A critic with a transformer of its own needs no other network.
  params = {'critic': _params('token')['critic']}
  texts = EncodedTexts(
    vectors=jnp.ones((ROWS, TEXT.max_length, TEXT.width)),
    mask=jnp.ones((ROWS, TEXT.max_length), bool),
  )

  @jax.jit
  def run(hidden, bias):
    logits = bias * jax.nn.one_hot(rows.ids, CODES)
    found = critic_loss(
      _generator('token'),
      params,
      rows.replace(hidden=hidden),
      texts,
      logits,
      rng.root(2),
    )
    return found.loss, found.metrics

  # The draws of a generator that knows nothing are uniform.
  _, metrics = run(rows.hidden, 0.0)
  assert float(metrics['critic_accuracy'].count) == np.sum(rows.hidden)
  share = finalise(fetched(metrics))['critic_real']
  assert share == pytest.approx(1 / CODES, abs=0.08)
  # A perfect generator draws true tokens, all of which are real.
  _, metrics = run(rows.hidden, 50.0)
  assert finalise(fetched(metrics))['critic_real'] == 1.0
  loss, metrics = run(jnp.zeros_like(rows.hidden), 0.0)
  assert float(loss) == 0 == float(metrics['critic_loss'].count)


@pytest.mark.slow
@pytest.mark.parametrize('critic', ['token', 'self'])
def test_a_critic_learns(critic):
  """Its parameters move, and its accuracy is better than a constant answer."""
  optimizer = optax.adam(1e-2)

  def step(carry, key):
    params, state = carry
    grads, metrics = jax.grad(
      lambda params: _loss(critic, params, _rows(key), key), has_aux=True
    )(params)
    updates, state = optimizer.update(grads, state)
    return (optax.apply_updates(params, updates), state), metrics

  generator = _generator(critic)
  before = jax.jit(lambda: sharding.unbox(generator.init(rng.root(0))))()
  (after, _), metrics = jax.jit(functools.partial(jax.lax.scan, step))(
    (before, optimizer.init(before)), jax.random.split(rng.root(3), 150)
  )
  moved = {
    name: any(
      np.any(a != b)
      for a, b in zip(
        jax.tree.leaves(before[name]), jax.tree.leaves(tree), strict=True
      )
    )
    for name, tree in after.items()
  }
  # A self-critic trains the features that it reads.
  is_self = critic == 'self'
  assert moved == {'critic': True, 'generator': is_self, 'text': is_self}
  last = jax.tree.map(lambda x: x[-20:].sum(), metrics)
  values = finalise(fetched(last))
  chance = max(values['critic_real'], 1 - values['critic_real'])
  assert values['critic_accuracy'] > chance + 0.2 * (1 - chance)


def test_a_critic_is_added_to_a_trained_generator():
  """The networks that are given stay; the critic alone moves."""
  given = {
    name: jax.tree.map(np.asarray, _params('token')[name])
    for name in ('text', 'generator')
  }
  generator = _generator('token')
  task = GeneratorTask(
    config=generator.config,
    text=TEXT,
    tokenizer=TokenizerConfig(),
    tokenizer_params={},
    training=GeneratorTaskConfig(trained='critic', prediction_frames=1),
    given=given,
  )
  optimizer = make_optimizer(
    OptimConfig(weight_decay=0.1, warmup_steps=0),
    steps=5,
    params=boxed_params(task),
    unoptimized=task.fixed,
  )
  mesh = sharding.make_mesh(
    sharding.MeshConfig(data=1), devices=jax.devices()[:1]
  )
  abstract = abstract_state(task, optimizer, mesh)
  state = create_state(task, optimizer, abstract, rng.root(0))
  before = jax.tree.map(np.array, state.params)
  part = {
    'tokens': np.arange(16, dtype=np.int32).reshape(2, *GRID) % CODES,
    'text': np.ones((2, 2), np.int32),
    'num_frames': np.full(2, 3, np.int32),
    'context_frames': np.zeros(2, np.int32),
  }
  step = compile_step(make_step(task, optimizer, ema_decay=0.9), abstract)
  state, metrics = step(state, {'clips': part}, rng.root(1), {})
  assert {'loss', 'critic_loss'} < set(metrics)
  for name, tree in given.items():
    for found in (before, state.params):
      jax.tree.map(np.testing.assert_array_equal, found[name], tree)
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
      state.ema[name],
      tree,
    )
  head = state.params['critic']['head']['kernel']
  assert (head != before['critic']['head']['kernel']).all()
