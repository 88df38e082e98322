"""How much of the signal and of the noise is left at each level.

A level is a share, from 0 (clean) to 1 (noise). Both schedules have 1000 steps
of noise, and a level is rounded to the nearest step.
"""

import functools
from collections.abc import Callable
from typing import Literal, no_type_check

import flax.struct
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

NUM_STEPS = 1000

Schedule = Literal['cosine', 'scaled_linear']


def _cosine() -> np.ndarray:
  """Return the variances of Nichol and Dhariwal (arXiv 2102.09672, eq. 17)."""
  level = np.arange(NUM_STEPS + 1) / NUM_STEPS
  left = np.cos((level + 0.008) / 1.008 * np.pi / 2) ** 2
  return np.minimum(1 - left[1:] / left[:-1], 0.999)


def _scaled_linear() -> np.ndarray:
  """Return the variances of Stable Diffusion, from 0.00085 to 0.012."""
  return np.linspace(0.00085**0.5, 0.012**0.5, NUM_STEPS) ** 2


SCHEDULES: dict[Schedule, Callable[[], np.ndarray]] = {
  'cosine': _cosine,
  'scaled_linear': _scaled_linear,
}
"""The variance of the noise that each step adds."""


# No type checks: JAX also builds it around leaves that are not arrays.
@no_type_check
@flax.struct.dataclass
class Mix:
  """The factors of the clean values and of unit noise in noisy values.

  The sum of their squares is 1.
  """

  signal: Float[Array, '*b']
  noise: Float[Array, '*b']


@functools.cache
def _table(name: Schedule) -> np.ndarray:
  """Return both factors of every step, float32 [2, NUM_STEPS + 1]."""
  left = np.concatenate([[1.0], np.cumprod(1 - SCHEDULES[name]())])
  return np.sqrt([left, 1 - left]).astype(np.float32)


def mix(name: Schedule, level: Float[Array, '*b']) -> Mix:
  """Return the factors at levels from 0 to 1."""
  step = jnp.clip(jnp.round(level * NUM_STEPS), 0, NUM_STEPS).astype(jnp.int32)
  signal, noise = _table(name)
  return Mix(signal=jnp.asarray(signal)[step], noise=jnp.asarray(noise)[step])


def mix_like(
  name: Schedule, level: Float[Array, 'B'], x: Float[Array, 'B *r']
) -> Mix:
  """Return the factors in the shape of a batch of noisy values."""
  found = mix(name, level)

  def spread(factor: Array) -> Array:
    shape = (-1,) + (1,) * (x.ndim - 1)
    return jnp.broadcast_to(factor.reshape(shape), x.shape)

  return Mix(signal=spread(found.signal), noise=spread(found.noise))


def even_levels(steps: int) -> Float[np.ndarray, 'N']:
  """Return steps + 1 levels at equal distances, from 1 down to 0."""
  return np.linspace(1.0, 0.0, steps + 1, dtype=np.float32)
