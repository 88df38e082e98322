"""Classifier-free guidance with one forward pass on a doubled batch."""

from collections.abc import Callable

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


def guided(
  predict: Callable[..., Float[Array, '...']],
  ids: Array,
  conditional: tuple[Array, ...],
  unconditional: tuple[Array, ...],
  scale: Float[Array, 'B'],
) -> Float[Array, '...']:
  """Predict with and without the condition in one batch and combine both.

  Args:
    predict: maps (ids, *condition) to predictions; the batch is the first
      dimension of all of them.
    ids: token ids, the model's input.
    conditional: arrays of the condition.
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
