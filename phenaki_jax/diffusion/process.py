"""The interface of a process that corrupts data and is undone step by step.

A network learns to undo the corruption of a level, and the sampler follows
falling levels from 1 to 0. Levels are shares: of noise in diffusion, of hidden
tokens in masking.
"""

from collections.abc import Callable
from typing import Any, Protocol, no_type_check, runtime_checkable

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, Shaped

from phenaki_jax import rng as rngs

Predict = Callable[[Shaped[Array, 'B *r'], Float[Array, 'B']], Any]
"""Maps corrupted data and their levels to the output of a network."""


# No type checks: JAX also builds it around leaves that are not arrays.
@no_type_check
@flax.struct.dataclass
class Corrupted:
  """Corrupted data.

  Attributes:
    x: the data.
    level: how corrupted each example is, in (0, 1].
    mask: True where the prediction counts in the loss.
  """

  x: Shaped[Array, 'B *r']
  level: Float[Array, 'B']
  mask: Shaped[Array, '*b']


@runtime_checkable
class Process(Protocol):
  """A way to corrupt data, and to undo it."""

  def corrupt(self, x: Shaped[Array, 'B *r'], key: Key[Array, '']) -> Corrupted:
    """Corrupt each example to a level of its own."""
    ...

  def loss(
    self, output: Any, x: Shaped[Array, 'B *r'], corrupted: Corrupted
  ) -> Float[Array, '*b']:
    """Return the loss of a prediction at each position of `corrupted.mask`."""
    ...

  def start(
    self, shape: tuple[int, ...], keys: Key[Array, 'B']
  ) -> Shaped[Array, 'B *r']:
    """Return data of level 1, which hold nothing of any example."""
    ...

  def step(
    self,
    output: Any,
    x: Shaped[Array, 'B *r'],
    level: Float[Array, 'B'],
    next_level: Float[Array, 'B'],
    keys: Key[Array, 'B'],
  ) -> Shaped[Array, 'B *r']:
    """Bring data of a level to a lower one, given a prediction."""
    ...


def sample(
  process: Process,
  predict: Predict,
  x: Shaped[Array, 'B *r'],
  levels: Float[Array, 'N'],
  keys: Key[Array, 'B'],
) -> Shaped[Array, 'B *r']:
  """Undo a corruption step by step.

  Args:
    process: what is undone.
    predict: the network.
    x: data of the first level, such as from `process.start`.
    levels: falling; the last is that of the result.
    keys: one for each sample, which then depends on no other sample.
  """
  levels = jnp.asarray(levels)

  def body(number: Array, x: Array) -> Array:
    level, next_level = (
      jnp.broadcast_to(levels[number + more], x.shape[:1]) for more in (0, 1)
    )
    of_step = jax.vmap(lambda key: rngs.at_step(key, number))(keys)
    return process.step(predict(x, level), x, level, next_level, of_step)

  return jax.lax.fori_loop(0, levels.shape[0] - 1, body, x)
