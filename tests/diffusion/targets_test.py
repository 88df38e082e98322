import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax.diffusion.schedule import SCHEDULES, mix_like
from phenaki_jax.diffusion.targets import Estimate, estimate, target_of


@pytest.mark.parametrize('schedule', SCHEDULES)
@pytest.mark.parametrize('target', ['noise', 'velocity'])
def test_each_target_gives_back_the_clean_values_and_the_noise(
  schedule, target
):
  bits = np.random.default_rng(0)
  clean, noise = jnp.asarray(bits.normal(size=(2, 3, 4, 2)), jnp.float32)
  mix = mix_like(schedule, jnp.array([0.001, 0.4, 0.9]), clean)
  x = mix.signal * clean + mix.noise * noise
  output = target_of(target, Estimate(clean=clean, noise=noise), mix)
  found = estimate(target, output, x, mix)
  np.testing.assert_allclose(found.clean, clean, atol=1e-5)
  np.testing.assert_allclose(found.noise, noise, atol=1e-5)


def test_targets_interconvert():
  bits = np.random.default_rng(1)
  x, velocity = jnp.asarray(bits.normal(size=(2, 3, 4)), jnp.float32)
  mix = mix_like('cosine', jnp.array([0.1, 0.5, 0.8]), x)
  noise = estimate('velocity', velocity, x, mix).noise
  parts = estimate('noise', noise, x, mix)
  again = target_of('velocity', parts, mix)
  np.testing.assert_allclose(again, velocity, atol=1e-5)
  # At equal parts it is the difference of noise and clean values.
  half = mix_like('cosine', jnp.full(3, 0.4961), x)
  ones = Estimate(clean=jnp.ones_like(x), noise=3 * jnp.ones_like(x))
  np.testing.assert_allclose(
    target_of('velocity', ones, half), 2**0.5, rtol=1e-2
  )
