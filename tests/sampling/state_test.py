"""The state of masked decoding."""

import jax.numpy as jnp
import numpy as np

from phenaki_jax.sampling.state import start, uncover

IDS = jnp.array([[1, 2, 3, 4], [5, 6, 7, 8]])
KNOWN = jnp.array([[1, 0, 0, 0], [0, 0, 0, 1]], bool)


def test_start_hides_all_but_the_known_tokens():
  state = start(IDS, KNOWN)
  np.testing.assert_array_equal(state.hidden, [[0, 1, 1, 1], [1, 1, 1, 0]])
  assert (state.ids[0, 0], state.ids[1, 3]) == (1, 8)
  assert (state.uncovered_at == -1).all()


def test_uncover_sets_chosen_hidden_tokens_only():
  state = start(IDS, KNOWN)
  # The second choice repeats known and uncovered tokens, which must not change.
  for step, row in enumerate(([1, 1, 0, 0], [1, 1, 1, 0])):
    chosen = jnp.array([row, row[::-1]], bool)
    state = uncover(
      state,
      ids=jnp.full((2, 4), 10 + step),
      chosen=chosen,
      step=jnp.asarray(step),
    )
  np.testing.assert_array_equal(state.hidden, [[0, 0, 0, 1], [1, 0, 0, 0]])
  np.testing.assert_array_equal(state.ids[0, :3], [1, 10, 11])
  np.testing.assert_array_equal(state.ids[1, 1:], [11, 10, 8])
  np.testing.assert_array_equal(
    state.uncovered_at, [[-1, 0, 1, -1], [-1, 1, 0, -1]]
  )
