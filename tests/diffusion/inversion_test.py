import functools

import gaussian
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax import rng
from phenaki_jax.diffusion.inversion import invert
from phenaki_jax.diffusion.noise import NoiseProcess
from phenaki_jax.diffusion.process import sample
from phenaki_jax.diffusion.schedule import even_levels

# Above, the cosine leaves too little of the values to find them again.
TOP = 0.9
LEVELS = jnp.asarray(even_levels(30, start=TOP))


def _there_and_back(process, iterations):
  predict = gaussian.predictor(process)
  x = jnp.linspace(-1.0, 2.0, 12).reshape(4, 3, 1)
  keys = jax.vmap(rng.root)(jnp.arange(4, dtype=jnp.uint32))

  @jax.jit
  def both(x):
    noisy = invert(process, predict, x, LEVELS[::-1], iterations=iterations)
    return noisy, sample(process, predict, noisy, LEVELS, keys)

  return x, *both(x)


@pytest.mark.parametrize(
  ('schedule', 'target'), [('cosine', 'velocity'), ('scaled_linear', 'noise')]
)
def test_inversion_then_ddim_returns_the_values(schedule, target):
  process = NoiseProcess(schedule=schedule, target=target)
  x, noisy, again = _there_and_back(process, 12)
  np.testing.assert_allclose(again, x, atol=1e-4)
  # The values become the noise of their own place in the distribution.
  mixed, distance = gaussian.noisy(process, TOP, 3)
  place = (x - gaussian.MEAN) / gaussian.DEVIATION
  slope = ((mixed[2] - mixed[0]) / (distance[2] - distance[0])).item()
  expected = mixed[1].item() + slope * place
  # Up to the error of 30 steps.
  np.testing.assert_allclose(noisy, expected, rtol=0.12)


def test_the_usual_inversion_is_near():
  x, _, again = _there_and_back(NoiseProcess(), 1)
  error = np.abs(np.asarray(again - x)).max()
  assert 1e-3 < error < 0.3


@pytest.mark.parametrize('options', [{'eta': 1.0}, {'limit': 1.0}])
def test_steps_that_lose_something_have_no_inverse(options):
  process = NoiseProcess(**options)
  run = functools.partial(invert, process, gaussian.predictor(process))
  with pytest.raises(AssertionError, match='no inverse'):
    run(jnp.zeros((1, 1, 1)), LEVELS[::-1])
