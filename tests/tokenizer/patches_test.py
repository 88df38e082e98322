"""Cutting and joining are exact inverses, and pieces hold what they should."""

import jax
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from phenaki_jax.tokenizer.patches import cut, join

SHAPES = {
  'batch': st.integers(1, 2),
  't': st.integers(1, 3),
  'grid': st.tuples(st.integers(1, 3), st.integers(1, 3)),
  'patch': st.tuples(st.integers(1, 4), st.integers(1, 4)),
  'tubelet': st.integers(1, 3),
  'channels': st.sampled_from([1, 3]),
}


_cut = jax.jit(cut, static_argnums=(1, 2))
_join = jax.jit(join, static_argnums=(1, 2))


def _video(batch, t, grid, patch, tubelet, channels):
  shape = (
    *(batch, t * tubelet, grid[0] * patch[0], grid[1] * patch[1]),
    channels,
  )
  # Every pixel is a number of its own.
  return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@settings(deadline=None, max_examples=8)
@given(**SHAPES)
def test_join_undoes_cut(batch, t, grid, patch, tubelet, channels):
  video = _video(batch, t, grid, patch, tubelet, channels)
  pieces = _cut(video, tubelet, patch)
  size = tubelet * patch[0] * patch[1] * channels
  assert pieces.shape == (batch, t, *grid, size)
  np.testing.assert_array_equal(_join(pieces, tubelet, patch), video)


def test_a_piece_holds_its_own_pixels():
  video = _video(2, 2, (3, 2), (4, 5), 2, 3)
  pieces = np.asarray(_cut(video, 2, (4, 5)))
  for b, t, h, w in np.ndindex(2, 2, 3, 2):
    block = video[b, 2 * t : 2 * t + 2, 4 * h : 4 * h + 4, 5 * w : 5 * w + 5]
    np.testing.assert_array_equal(pieces[b, t, h, w], np.ravel(block))
