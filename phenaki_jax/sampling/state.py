"""The state of masked decoding between decoding steps."""

from typing import no_type_check

import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int


# JAX rebuilds this class with leaves that are not arrays, so the annotations
# of its fields are not checked.
@no_type_check
@flax.struct.dataclass
class DecodeState:
  """A batch of partly decoded token grids, flattened.

  Attributes:
    ids: token ids; undefined where hidden.
    hidden: True at tokens that are not decoded yet.
    uncovered_at: decoding step that uncovered each token; -1 for known and
      for hidden tokens.
  """

  ids: Int[Array, 'B N']
  hidden: Bool[Array, 'B N']
  uncovered_at: Int[Array, 'B N']


def start(ids: Int[Array, 'B N'], known: Bool[Array, 'B N']) -> DecodeState:
  """Return the initial state, in which all tokens but the known are hidden."""
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
  """Set the chosen hidden tokens to `ids`; all other tokens keep theirs."""
  chosen = chosen & state.hidden
  return DecodeState(
    ids=jnp.where(chosen, ids, state.ids),
    hidden=state.hidden & ~chosen,
    uncovered_at=jnp.where(chosen, step, state.uncovered_at),
  )
