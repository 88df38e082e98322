"""The discriminator scores examples alone, at any size, after real blurs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax import rng, sharding
from phenaki_jax.tokenizer.discriminator import Discriminator, halve


def test_halving_equals_a_blur_and_every_second_value():
  x = np.random.default_rng(0).normal(size=(2, 5, 6, 3)).astype(np.float32)
  padded = np.pad(x, ((0, 0), (1, 2), (1, 2), (0, 0)), mode='edge')
  weights = np.array([1, 3, 3, 1]) / 8
  expected = np.zeros((2, 3, 3, 3))
  for i, j in np.ndindex(3, 3):
    window = padded[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4]
    expected[:, i, j] = np.einsum('byxc,y,x->bc', window, weights, weights)
  np.testing.assert_allclose(halve(jnp.asarray(x)), expected, atol=1e-6)


def test_halving_removes_the_highest_frequency():
  stripes = jnp.asarray([1.0, -1.0] * 4)[None, :, None]
  assert np.abs(halve(stripes)[:, 1:-1]).max() < 1e-6
  np.testing.assert_allclose(halve(jnp.ones((1, 8, 1))), 1.0, rtol=1e-6)


@pytest.mark.parametrize('over_time', [False, True])
def test_scores_depend_on_their_example_alone(over_time):
  module = Discriminator(channels=(4, 6), over_time=over_time)
  shape = (3, *(3,) * over_time, 9, 12, 3)
  pixels = np.random.default_rng(0).uniform(-1, 1, shape)
  pixels = jnp.asarray(pixels, jnp.float32)
  example = pixels[:1, ..., :4, :4, :]
  shapes = jax.eval_shape(module.init, rng.root(0), example)
  generator = np.random.default_rng(2)
  params = jax.tree.map(
    lambda leaf: jnp.asarray(0.3 * generator.normal(size=leaf.shape), 'f4'),
    sharding.unbox(shapes),
  )
  score = jax.jit(module.apply)
  scores = score(params, pixels)
  assert scores.shape == (3,)
  assert len(np.unique(np.round(scores, 5))) == 3
  reverse = score(params, pixels[::-1])
  np.testing.assert_allclose(reverse[::-1], scores, atol=1e-5)
