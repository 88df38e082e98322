"""What masked decoding carries from step to step."""

from typing import no_type_check

import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int


# jax rebuilds it around leaves that are no arrays, so no checks inside.
@no_type_check
@flax.struct.dataclass
class DecodeState:
  """A batch of half-uncovered token grids.

  Attributes:
    ids: tokens; what stands at hidden places has no meaning.
    hidden: True at tokens not yet uncovered.
    uncovered_at: step at which each token was uncovered, -1 for tokens known
      from the start or still hidden.
  """

  ids: Int[Array, 'B N']
  hidden: Bool[Array, 'B N']
  uncovered_at: Int[Array, 'B N']


def start(ids: Int[Array, 'B N'], known: Bool[Array, 'B N']) -> DecodeState:
  """Begin with the known tokens shown and all others hidden."""
  return DecodeState(
    ids=jnp.where(known, ids, 0),
    hidden=~known,
    uncovered_at=jnp.full(ids.shape, -1, jnp.int32),
  )


def uncover(
  state: DecodeState,
  *,
  ids: Int[Array, 'B N'],
  chosen: Bool[Array, 'B N'],
  step: Int[Array, ''],
) -> DecodeState:
  """Fix the chosen tokens; those not hidden stay as they are."""
  chosen = chosen & state.hidden
  return DecodeState(
    ids=jnp.where(chosen, ids, state.ids),
    hidden=state.hidden & ~chosen,
    uncovered_at=jnp.where(chosen, step, state.uncovered_at),
  )
