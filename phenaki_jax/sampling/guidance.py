"""Classifier-free guidance by one doubled forward pass."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float


def guide(
  conditional: Float[Array, 'B *r'],
  unconditional: Float[Array, 'B *r'],
  scale: Float[Array, 'B'],
) -> Float[Array, 'B *r']:
  """Push the conditional prediction away from the unconditional one.

  Scale 0 leaves the conditional prediction as it is: c + s (c - u), the form
  in which Phenaki's smallest published scale (0.1) makes sense.
  """
  shape = (-1,) + (1,) * (conditional.ndim - 1)
  weight = jnp.broadcast_to(scale.reshape(shape), conditional.shape)
  return conditional + weight * (conditional - unconditional)


def doubled(
  predict: Callable[..., Float[Array, '...']],
  ids: Array,
  conditional: tuple[Array, ...],
  unconditional: tuple[Array, ...],
  scale: Float[Array, 'B'],
) -> Float[Array, '...']:
  """Predict with and without the condition in one batch, and guide.

  Args:
    predict: maps (ids, *condition) to predictions, batch first.
    ids: tokens as the model sees them.
    conditional: arrays of the condition, batch first.
    unconditional: the same arrays for the empty condition.
    scale: guidance scale of each sample.
  """
  both = [
    jnp.concatenate(pair)
    for pair in zip(conditional, unconditional, strict=True)
  ]
  output = predict(jnp.concatenate([ids, ids]), *both)
  with_condition, without = jnp.split(output, 2)
  return guide(with_condition, without, scale)
