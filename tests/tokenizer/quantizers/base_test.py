"""The straight-through estimator and codebook usage."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax import sharding
from phenaki_jax.tokenizer.quantizers import FSQ, LFQ, VQ
from phenaki_jax.tokenizer.quantizers.base import code_use, straight_through


@pytest.mark.parametrize(
  ('quantizer', 'width'),
  [(FSQ((5, 4, 3), 8), 3), (VQ(16, 4, 8), 4), (LFQ(5, 8), 5)],
  ids=['fsq', 'vq', 'lfq'],
)
def test_rounded_latents_are_the_quantized_vectors(quantizer, width):
  z = jax.random.normal(jax.random.key(0), (6, 7, 8))
  variables = sharding.unbox(quantizer.init(jax.random.key(1), z))
  latents = quantizer.apply(variables, z, method='project')
  assert latents.shape == (6, 7, width)
  vectors = quantizer.apply(variables, latents, method='snap')
  expected = quantizer.apply(variables, z)
  np.testing.assert_allclose(vectors, expected.vectors, atol=1e-6)
  assert len(np.unique(expected.ids)) > 5


def test_straight_through_returns_quantized_with_identity_gradient():
  generator = np.random.default_rng(0)
  z, quantized, weight = jnp.asarray(generator.normal(size=(3, 2, 5)))
  # Large values would expose rounding in a subtraction.
  z = z * 1e4
  np.testing.assert_array_equal(straight_through(z, quantized), quantized)
  pull = jax.grad(lambda *x: jnp.sum(weight * straight_through(*x)), (0, 1))
  dz, dquantized = pull(z, quantized)
  np.testing.assert_array_equal(dz, weight)
  assert not dquantized.any()


def test_code_use_equals_numpy():
  ids = np.random.default_rng(1).integers(0, 40, size=(3, 17)) // 2
  counts = np.bincount(ids.reshape(-1), minlength=64)
  share = counts[counts > 0] / ids.size
  # Padding has an id that occurs nowhere else and must not be counted.
  padded = jnp.asarray(np.pad(ids, ((0, 2), (0, 0)), constant_values=63))
  real = jnp.asarray(np.arange(5)[:, None] < np.full((1, 17), 3), jnp.float32)
  use = code_use(padded, real, 64)
  assert float(use.usage) == pytest.approx(len(np.unique(ids)) / 64)
  assert float(use.perplexity) == pytest.approx(
    np.exp(-(share * np.log(share)).sum()), rel=1e-5
  )


def test_code_use_of_one_code_and_of_all_codes():
  collapsed = code_use(jnp.full((4, 5), 3), jnp.ones((4, 5)), 16)
  assert float(collapsed.usage) == pytest.approx(1 / 16)
  assert float(collapsed.perplexity) == pytest.approx(1.0)
  even = code_use(jnp.arange(16), jnp.ones(16), 16)
  assert float(even.usage) == 1
  assert float(even.perplexity) == pytest.approx(16.0, rel=1e-5)
