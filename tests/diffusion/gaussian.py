"""The exact predictions for values that are normally distributed."""

import jax.numpy as jnp

from phenaki_jax.diffusion.schedule import mix_like
from phenaki_jax.diffusion.targets import Estimate, target_of

MEAN, DEVIATION = 0.6, 0.5


def variance(mix):
  """Return the variance of noisy values."""
  return mix.signal**2 * DEVIATION**2 + mix.noise**2


def predictor(process):
  """Return the network that no training can improve."""

  def predict(x, level):
    mix = mix_like(process.schedule, level, x)
    # The conditional mean given x; where there is no noise, it is x.
    away = (x - mix.signal * MEAN) / variance(mix)
    clean = MEAN + mix.signal * DEVIATION**2 * away
    noise = mix.noise * away
    parts = Estimate(clean=clean, noise=noise)
    return target_of(process.target, parts, mix)

  return predict


def noisy(process, level, count):
  """Return noisy values at even distances from their mean, and these."""
  distance = jnp.linspace(-2.0, 2.0, count).reshape(count, 1, 1)
  mix = mix_like(process.schedule, jnp.full(count, level), distance)
  return mix.signal * MEAN + variance(mix) ** 0.5 * distance, distance
