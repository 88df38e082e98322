import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax.diffusion.enlargement import (
  enlarge,
  project,
  reduce,
  reduce_uint8,
)
from phenaki_jax.pixels import normalise, to_uint8


def _pixels(seed, *shape):
  bits = np.random.default_rng(seed)
  return normalise(jnp.asarray(bits.integers(0, 256, shape), jnp.uint8))


def test_reduction_averages_squares():
  pixels = jnp.arange(16.0).reshape(1, 4, 4, 1)
  np.testing.assert_allclose(
    np.asarray(reduce(pixels, 2))[0, :, :, 0], [[2.5, 4.5], [10.5, 12.5]]
  )
  plain = _pixels(0, 2, 4, 4, 3)
  small = reduce_uint8(plain, 2)
  assert np.abs(small - reduce(plain, 2)).max() <= 0.5 / 127.5 + 1e-6
  np.testing.assert_allclose(normalise(to_uint8(small)), small, atol=1e-6)


def test_enlargement_keeps_plain_frames_and_sizes():
  plain = jnp.full((2, 3, 5, 3), 0.25)
  large = enlarge(plain, 2)
  assert large.shape == (2, 6, 10, 3)
  np.testing.assert_allclose(large, 0.25, atol=1e-6)


@pytest.mark.parametrize('factor', [2, 3])
def test_projection_gives_the_small_copy_and_comes_nearer(factor):
  truth = _pixels(1, 2, 6, 6, 3)
  small = reduce(truth, factor)
  guess = jnp.clip(truth + 0.3 * _pixels(2, 2, 6, 6, 3), -1.5, 1.5)
  found = project(guess, small)
  np.testing.assert_allclose(reduce(found, factor), small, atol=1e-6)
  before, after = (np.square(x - truth).mean() for x in (guess, found))
  assert after < before
  # What already has the small copy stays as it is.
  np.testing.assert_allclose(project(truth, small), truth, atol=1e-6)
  assert np.abs(project(9 * guess, small)).max() <= 1 + 1e-6
  # Rounded to files, the small copies differ by a rounding.
  rounded = normalise(to_uint8(found))
  assert np.abs(reduce(rounded, factor) - small).max() < 1.1 / 127.5
