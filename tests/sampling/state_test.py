"""The state of masked decoding."""

import jax
import jax.numpy as jnp
import numpy as np

from phenaki_jax.sampling.state import start, uncover

IDS = np.arange(12, dtype=np.int32).reshape(2, 6) + 1
KNOWN = np.array([[1, 1, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0]], bool)


def test_start_hides_all_but_the_known_tokens():
  state = start(jnp.asarray(IDS), jnp.asarray(KNOWN))
  np.testing.assert_array_equal(state.hidden, ~KNOWN)
  np.testing.assert_array_equal(np.asarray(state.ids)[KNOWN], IDS[KNOWN])
  assert (np.asarray(state.uncovered_at) == -1).all()


def test_uncover_sets_chosen_hidden_tokens_only():
  state = start(jnp.asarray(IDS), jnp.asarray(KNOWN))
  generator = np.random.default_rng(0)
  for step in range(5):
    before = jax.tree.map(np.asarray, state)
    drawn = generator.integers(100, 200, IDS.shape).astype(np.int32)
    # Known and uncovered tokens may be chosen too; they must not change.
    chosen = generator.random(IDS.shape) < 0.5
    state = uncover(
      state,
      ids=jnp.asarray(drawn),
      chosen=jnp.asarray(chosen),
      step=jnp.asarray(step),
    )
    new = chosen & before.hidden
    np.testing.assert_array_equal(state.hidden, before.hidden & ~chosen)
    np.testing.assert_array_equal(state.ids, np.where(new, drawn, before.ids))
    np.testing.assert_array_equal(
      state.uncovered_at, np.where(new, step, before.uncovered_at)
    )
  np.testing.assert_array_equal(np.asarray(state.ids)[KNOWN], IDS[KNOWN])
  assert (np.asarray(state.uncovered_at)[KNOWN] == -1).all()
