"""Loss terms equal loops over pixels, and weights are validated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax.tokenizer.losses import (
  TokenizerLossWeights,
  detail_weights,
  frame_mask,
  pixel_errors,
)


def test_pixel_errors_equal_numpy_loops():
  generator = np.random.default_rng(0)
  target, output = generator.normal(size=(2, 2, 3, 4, 5, 3))
  errors = pixel_errors(jnp.asarray(target), jnp.asarray(output))
  for b, t in np.ndindex(2, 3):
    error = output[b, t] - target[b, t]
    edges = 0.5 * np.abs(np.diff(error, axis=0)).mean()
    edges += 0.5 * np.abs(np.diff(error, axis=1)).mean()
    assert float(errors.l2[b, t]) == pytest.approx((error**2).mean(), rel=1e-5)
    assert float(errors.l1[b, t]) == pytest.approx(
      np.abs(error).mean(), rel=1e-5
    )
    assert float(errors.edge[b, t]) == pytest.approx(edges, rel=1e-5)


def _naive_weights(frame):
  """Compute the weights of one frame [H, W, C] pixel by pixel."""
  contrast = np.zeros(frame.shape[:2])
  for y, x in np.ndindex(contrast.shape):
    window = frame[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3]
    contrast[y, x] = window.std((0, 1)).mean() + 0.1
  return contrast / contrast.mean()


def test_detail_error_equals_numpy_loops():
  generator = np.random.default_rng(1)
  target, output = generator.uniform(-1, 1, size=(2, 2, 2, 6, 7, 3))
  target[:, :, :, 4:] = 0.9  # a flat part
  weights = detail_weights(jnp.asarray(target))
  errors = pixel_errors(jnp.asarray(target), jnp.asarray(output))
  for b, t in np.ndindex(2, 2):
    expected = _naive_weights(target[b, t])
    assert expected.max() > 2 * expected.min()
    # E[x^2] - E[x]^2 in float32 errs by 1e-7, so its root by 3e-4.
    np.testing.assert_allclose(weights[b, t, ..., 0], expected, atol=2e-3)
    squared = (output[b, t] - target[b, t]) ** 2
    assert float(errors.detail[b, t]) == pytest.approx(
      (squared * expected[..., None]).mean(), rel=1e-3
    )


def test_detail_weights_have_mean_one_and_no_gradient():
  target = jnp.zeros((1, 2, 9, 9, 3)).at[0, 1, 4, 4].set(1.0)
  weights = detail_weights(target)
  np.testing.assert_allclose(weights.mean((2, 3)), 1.0, rtol=1e-5)
  np.testing.assert_allclose(weights[0, 0], 1.0, rtol=1e-5)
  # The window of every pixel up to 2 pixels away holds the bright one.
  inside = weights[0, 1, 2:7, 2:7, 0]
  assert inside.min() > 2 * weights[0, 1, 0, 0, 0]
  noise = jnp.asarray(np.random.default_rng(0).normal(size=target.shape))
  grads = jax.grad(lambda x: (detail_weights(x) ** 2).sum())(noise)
  assert not grads.any()


def test_edge_error_ignores_a_constant_offset():
  target = jnp.zeros((1, 1, 4, 4, 3))
  errors = pixel_errors(target, target + 0.5)
  assert float(errors.edge[0, 0]) == 0
  assert float(errors.l1[0, 0]) == 0.5


def test_frame_mask_is_false_at_padding():
  np.testing.assert_array_equal(
    frame_mask(jnp.array([1, 3, 5]), 5),
    [[1, 0, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 1]],
  )


def test_negative_weight_raises():
  with pytest.raises(ValueError, match='l1 is -1.0, but it must be greater'):
    TokenizerLossWeights(l1=-1.0)
