import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax.diffusion import schedule
from phenaki_jax.diffusion.schedule import SCHEDULES, even_levels, mix


@pytest.mark.parametrize('name', SCHEDULES)
def test_levels_run_from_the_clean_values_to_noise(name):
  levels = jnp.linspace(0, 1, schedule.NUM_STEPS + 1)
  found = mix(name, levels)
  signal, noise = np.asarray(found.signal), np.asarray(found.noise)
  np.testing.assert_allclose(signal**2 + noise**2, 1.0, atol=1e-6)
  assert (signal[0], noise[0]) == (1.0, 0.0)
  assert (np.diff(signal) < 0).all() and (np.diff(noise) >= 0).all()
  assert signal[-1] < 0.07
  # Below and above are the ends; between two steps is the nearer one.
  ends = mix(name, jnp.array([-0.1, 1.1, 0.30049], jnp.float32))
  np.testing.assert_array_equal(ends.signal, signal[[0, -1, 300]])


def test_scaled_linear_is_the_schedule_of_stable_diffusion():
  """Its first and last cumulative products, as they are published."""
  signal = np.asarray(
    mix('scaled_linear', jnp.array([0.001, 1], jnp.float32)).signal
  )
  np.testing.assert_allclose(signal**2, [0.99915, 0.0046599], rtol=2e-4)


def test_cosine_follows_its_curve():
  level = jnp.array([0.25, 0.5, 0.75], jnp.float32)
  curve = np.cos((level + 0.008) / 1.008 * np.pi / 2) / np.cos(
    0.008 / 1.008 * np.pi / 2
  )
  np.testing.assert_allclose(mix('cosine', level).signal, curve, rtol=1e-5)


def test_even_levels_fall_to_zero():
  np.testing.assert_allclose(even_levels(4), [1, 0.75, 0.5, 0.25, 0])
  np.testing.assert_allclose(even_levels(2), [1, 0.5, 0])
