"""The process of diffusion: Gaussian noise, and DDIM steps that remove it.

DDIM: Song et al., arXiv 2010.02502.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from phenaki_jax import rng as rngs
from phenaki_jax.diffusion.process import Corrupted, Predict, sample
from phenaki_jax.diffusion.schedule import NUM_STEPS, Schedule, mix_like
from phenaki_jax.diffusion.targets import (
  Estimate,
  Target,
  estimate,
  target_of,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoiseProcess:
  """Adds noise to clips [B, T, ..., C] of values near unit variance.

  Attributes:
    schedule: the noise of each level.
    target: what the network predicts.
    shared: whether all frames of a clip have the same noise, so that a still
      clip stays still (Make-A-Video, arXiv 2209.14792, section 3.2).
    limit: bound of the clean values, to which estimates are clipped; None for
      no bound.
    start_share: share of the levels that are 1, noise alone, from which a model
      that samples in one step starts; the others are evenly spaced.
  """

  schedule: Schedule = 'cosine'
  target: Target = 'velocity'
  shared: bool = False
  limit: float | None = None
  start_share: float = 0.0

  def corrupt(
    self, x: Float[Array, 'B T *r'], key: Key[Array, '']
  ) -> Corrupted:
    """Add noise; the levels are evenly spaced over the batch.

    Each level alone is uniform, and together they vary less than independent
    ones (Kingma et al., arXiv 2107.00630, appendix I.1).
    """
    count = x.shape[0]
    first = jax.random.uniform(rngs.stream(key, 'level'), (), jnp.float32)
    share = (jnp.arange(count) / count + first) % 1.0
    share = share / max(1.0 - self.start_share, 1e-6)  # Above 1 at the start.
    level = jnp.minimum((1.0 + jnp.floor(share * NUM_STEPS)) / NUM_STEPS, 1.0)
    keys = jax.random.split(rngs.stream(key, 'noise'), count)
    noise = self._noise(x.shape, keys)
    found = mix_like(self.schedule, level, x)
    return Corrupted(
      x=found.signal * x + found.noise * noise,
      level=level,
      mask=jnp.ones(x.shape[:-1], bool),
    )

  def loss(
    self,
    output: Float[Array, 'B T *r'],
    x: Float[Array, 'B T *r'],
    corrupted: Corrupted,
  ) -> Float[Array, '*b']:
    """Return the squared error of the target, averaged over channels."""
    found = mix_like(self.schedule, corrupted.level, x)
    # The level is above 0, and so is the factor of the noise.
    noise = (corrupted.x - found.signal * x) / found.noise
    wanted = target_of(self.target, Estimate(clean=x, noise=noise), found)
    return jnp.mean(jnp.square(output - wanted), -1)

  def start(
    self, shape: tuple[int, ...], keys: Key[Array, 'B']
  ) -> Float[Array, 'B T *r']:
    """Return noise."""
    of_start = jax.vmap(lambda key: rngs.stream(key, 'start'))(keys)
    return self._noise(shape, of_start)

  def step(
    self,
    output: Float[Array, 'B T *r'],
    x: Float[Array, 'B T *r'],
    level: Float[Array, 'B'],
    next_level: Float[Array, 'B'],
    keys: Key[Array, 'B'],
  ) -> Float[Array, 'B T *r']:
    """Take a DDIM step (equation 12 with sigma 0), which draws nothing."""
    del keys
    parts = self.estimate(output, x, level)
    then = mix_like(self.schedule, next_level, x)
    return then.signal * parts.clean + then.noise * parts.noise

  def invert(
    self,
    predict: Predict,
    x: Float[Array, 'B T *r'],
    levels: Float[Array, 'N'],
    keys: Key[Array, 'B'],
  ) -> Float[Array, 'B T *r']:
    """Follow the steps of `sample` backwards (arXiv 2010.02502, section 4.3).

    Sampling from the result gives back the values, up to the error of steps of
    finite length.

    Args:
      predict: the network.
      x: clean values.
      levels: as for `sample`: falling to 0.
      keys: one for each sample; nothing is drawn.
    """
    # An estimate of clean values that is clipped says nothing of the noise.
    exact = dataclasses.replace(self, limit=None)
    return sample(exact, predict, x, levels[::-1], keys)

  def estimate(
    self,
    output: Float[Array, 'B T *r'],
    x: Float[Array, 'B T *r'],
    level: Float[Array, 'B'],
  ) -> Estimate:
    """Return the clean values and the noise that a prediction implies."""
    found = mix_like(self.schedule, level, x)
    parts = estimate(self.target, output, x, found)
    if self.limit is None:
      return parts
    clean = jnp.clip(parts.clean, -self.limit, self.limit)
    # The noise that fits the clipped values.
    noise = (x - found.signal * clean) / jnp.maximum(found.noise, 1e-6)
    return Estimate(clean=clean, noise=noise)

  def _noise(self, shape: tuple[int, ...], keys: Array) -> Array:
    """Draw noise from one key per clip."""
    each = (1, *shape[2:]) if self.shared else shape[1:]
    noise = jax.vmap(lambda key: jax.random.normal(key, each, jnp.float32))(
      keys
    )
    return jnp.broadcast_to(noise, shape)
