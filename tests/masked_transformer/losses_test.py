"""The cross-entropy against numpy, over hidden tokens alone; the prior."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from phenaki_jax.masked_transformer.codes import CodeTable, digits
from phenaki_jax.masked_transformer.losses import code_prior, token_loss
from phenaki_jax.sharding import unbox

GENERATOR = np.random.default_rng(0)
LOGITS = GENERATOR.normal(size=(2, 3, 2, 2, 7)).astype(np.float32) * 3
IDS = GENERATOR.integers(0, 7, size=(2, 3, 2, 2))
HIDDEN = GENERATOR.random((2, 3, 2, 2)) < 0.5

loss = jax.jit(token_loss, static_argnames='label_smoothing')


@pytest.mark.parametrize('smoothing', [0.0, 0.1])
def test_equals_numpy(smoothing):
  shifted = LOGITS.astype(np.float64) - LOGITS.max(-1, keepdims=True)
  log_probability = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
  target = np.eye(7)[IDS] * (1 - smoothing) + smoothing / 7
  nll = -(target * log_probability).sum(-1)
  out = loss(LOGITS, IDS, HIDDEN, label_smoothing=smoothing)
  assert float(out.total) == pytest.approx(nll[HIDDEN].sum(), rel=1e-5)
  assert float(out.count) == HIDDEN.sum()
  right = LOGITS.argmax(-1) == IDS
  assert float(out.correct) == right[HIDDEN].sum() > 0


def test_shown_tokens_do_not_count():
  out = loss(LOGITS, IDS, HIDDEN)
  changed = np.where(HIDDEN[..., None], LOGITS, 50.0 - LOGITS)
  other = loss(changed, np.where(HIDDEN, IDS, 6 - IDS), HIDDEN)
  assert float(out.total) == float(other.total)
  assert float(out.correct) == float(other.correct)
  grads = jax.jit(
    jax.grad(lambda *inputs: token_loss(*inputs).total),
  )(LOGITS, IDS, HIDDEN)
  np.testing.assert_array_equal(np.any(grads, -1), HIDDEN)


def test_nothing_hidden_counts_nothing():
  out = loss(LOGITS, IDS, np.zeros_like(HIDDEN))
  assert float(out.total) == float(out.correct) == float(out.count) == 0


def test_bfloat16_logits_are_widened():
  logits = jnp.asarray(LOGITS, jnp.bfloat16)
  wide = np.asarray(logits, np.float32)
  assert float(loss(logits, IDS, HIDDEN).total) == pytest.approx(
    float(loss(wide, IDS, HIDDEN).total), rel=1e-6
  )


def test_prior_is_half_the_squares_of_what_codes_have_of_their_own():
  own = {'embedding': jnp.full((3, 2), 2.0), 'digit_0_embedding': jnp.ones(9)}
  params = {'tokens': own, 'logits': own, 'logits_bias': jnp.ones(3)}
  assert float(code_prior(params)) == 0.5 * (24 + 24 + 3)


def _unseen_code_is_guessed(weight):
  """Learn to name pairs of digits, one pair withheld; guess that one."""
  levels = (3, 3)
  pairs = digits(9, levels)
  seen = np.arange(9) != 4
  features = np.concatenate([np.eye(3)[pairs[:, 0]], np.eye(3)[pairs[:, 1]]], 1)
  table = CodeTable(num=9, features=6, levels=levels, stddev=0.1)
  logits = unbox(table.init(jax.random.key(0)))['params']
  params = {'logits': logits, 'logits_bias': jnp.zeros(9)}
  unused = {'embedding': jnp.zeros(())}

  def predict(params, features):
    vectors = table.apply({'params': params['logits']})
    return features @ vectors.T + params['logits_bias'][None]

  def total(params):
    out = token_loss(
      predict(params, features), jnp.arange(9), jnp.asarray(seen)
    )
    prior = code_prior({**params, 'tokens': unused})
    return out.total / out.count + weight * prior

  optimizer = optax.adam(0.05)

  @jax.jit
  def step(carry, _):
    params, state = carry
    updates, state = optimizer.update(jax.grad(total)(params), state)
    return (optax.apply_updates(params, updates), state), None

  (params, _), _ = jax.lax.scan(
    step, (params, optimizer.init(params)), length=1000
  )
  guesses = predict(params, features).argmax(-1)
  assert (guesses == np.arange(9))[seen].all()
  return guesses[4] == 4


def test_prior_leaves_an_unseen_code_to_its_digits():
  assert _unseen_code_is_guessed(1e-2)
  assert not _unseen_code_is_guessed(0.0)
