"""The cross-entropy against numpy, over hidden tokens alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax.masked_transformer.losses import token_loss

GENERATOR = np.random.default_rng(0)
LOGITS = GENERATOR.normal(size=(2, 3, 2, 2, 7)).astype(np.float32) * 3
IDS = GENERATOR.integers(0, 7, size=(2, 3, 2, 2))
HIDDEN = GENERATOR.random((2, 3, 2, 2)) < 0.5

loss = jax.jit(token_loss)


def test_equals_numpy():
  shifted = LOGITS.astype(np.float64) - LOGITS.max(-1, keepdims=True)
  log_probability = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
  out = loss(LOGITS, IDS, HIDDEN)
  nll = -(np.eye(7)[IDS] * log_probability).sum(-1)
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


def test_weights_multiply_every_sum():
  double = loss(LOGITS, IDS, HIDDEN, weights=np.full(IDS.shape, 2.0))
  single = loss(LOGITS, IDS, HIDDEN)
  for name in ('total', 'correct', 'count'):
    assert float(getattr(double, name)) == pytest.approx(
      2 * float(getattr(single, name)), rel=1e-6
    )
  chosen = loss(LOGITS, IDS, HIDDEN, weights=1.0 * (IDS == 3))
  alone = loss(LOGITS, IDS, HIDDEN & (IDS == 3))
  assert float(chosen.total) == pytest.approx(float(alone.total), rel=1e-6)


def test_nothing_hidden_counts_nothing():
  out = loss(LOGITS, IDS, np.zeros_like(HIDDEN))
  assert float(out.total) == float(out.correct) == float(out.count) == 0


def test_bfloat16_logits_are_widened():
  logits = jnp.asarray(LOGITS, jnp.bfloat16)
  wide = np.asarray(logits, np.float32)
  assert float(loss(logits, IDS, HIDDEN).total) == pytest.approx(
    float(loss(wide, IDS, HIDDEN).total), rel=1e-6
  )
