"""The share of hidden tokens as a function of progress in [0, 1].

In training, progress is drawn uniformly; in sampling, it is the share of
completed decoding steps (MaskGIT, arXiv 2202.04200, section 3.3).
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from phenaki_jax.masked_transformer.config import Schedule

SCHEDULES: dict[Schedule, Callable[[Array], Array]] = {
  'cosine': lambda progress: jnp.cos(0.5 * jnp.pi * progress),
  'linear': lambda progress: 1.0 - progress,
  'square': lambda progress: 1.0 - progress**2,
  'cubic': lambda progress: 1.0 - progress**3,
  'quartic': lambda progress: 1.0 - progress**4,
  'sqrt': lambda progress: 1.0 - jnp.sqrt(progress),
}


def hidden_share(
  name: Schedule, progress: Float[Array, '*b']
) -> Float[Array, '*b']:
  """Return the share of tokens still hidden, from 1 down to 0."""
  return jnp.clip(SCHEDULES[name](progress), 0.0, 1.0)
