"""Loss terms equal loops over pixels, and weights are validated."""

import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax.tokenizer.losses import (
  TokenizerLossWeights,
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
