"""Classifier-free guidance."""

import jax.numpy as jnp
from jaxtyping import Array, Float


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
