"""Classifier-free guidance, and how its scale changes over decoding steps."""

from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

GuidanceSchedule = Literal['constant', 'linear', 'cosine']

SCHEDULES: dict[GuidanceSchedule, Callable[[Array], Array]] = {
  'constant': jnp.ones_like,
  'linear': lambda progress: progress,
  'cosine': lambda progress: 0.5 - 0.5 * jnp.cos(jnp.pi * progress),
}
"""Each maps progress in [0, 1] to a share of the scale.

Early tokens are drawn with little guidance under 'linear' (Muse, arXiv
2301.00704, section 2.7), which keeps them diverse, and under 'cosine', which
rises slowly at both ends.
"""


def guide(
  conditional: Float[Array, 'B *r'],
  unconditional: Float[Array, 'B *r'],
  scale: Float[Array, 'B'],
) -> Float[Array, 'B *r']:
  """Move the conditional prediction away from the unconditional one.

  Returns:
    c + scale * (c - u). Scale 0 returns the conditional prediction. This is the
    definition under which Phenaki's smallest scale, 0.1, is a weak guidance.
  """
  shape = (-1,) + (1,) * (conditional.ndim - 1)
  weight = jnp.broadcast_to(scale.reshape(shape), conditional.shape)
  return conditional + weight * (conditional - unconditional)
