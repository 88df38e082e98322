"""Patches hold the right pixels, and unpatchify undoes patchify."""

import jax
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from phenaki_jax.nn.patches import patchify, unpatchify

SHAPES = {
  'batch': st.integers(1, 2),
  't': st.integers(0, 3),
  'grid': st.tuples(st.integers(1, 3), st.integers(1, 3)),
  'patch': st.tuples(st.integers(1, 4), st.integers(1, 4)),
  'tubelet': st.integers(1, 3),
  'channels': st.sampled_from([1, 3]),
}


_patchify = jax.jit(patchify, static_argnums=(1, 2))
_unpatchify = jax.jit(unpatchify, static_argnums=(1, 2))


def _video(batch, t, grid, patch, tubelet, channels):
  shape = (
    *(batch, t * tubelet, grid[0] * patch[0], grid[1] * patch[1]),
    channels,
  )
  # Every value is distinct.
  return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@settings(deadline=None, max_examples=8)
@given(**SHAPES)
def test_unpatchify_undoes_patchify(batch, t, grid, patch, tubelet, channels):
  video = _video(batch, t, grid, patch, tubelet, channels)
  patches = _patchify(video, tubelet, patch)
  size = tubelet * patch[0] * patch[1] * channels
  assert patches.shape == (batch, t, *grid, size)
  np.testing.assert_array_equal(_unpatchify(patches, tubelet, patch), video)


def test_patches_hold_their_pixels():
  video = _video(2, 2, (3, 2), (4, 5), 2, 3)
  patches = np.asarray(_patchify(video, 2, (4, 5)))
  for b, t, h, w in np.ndindex(2, 2, 3, 2):
    block = video[b, 2 * t : 2 * t + 2, 4 * h : 4 * h + 4, 5 * w : 5 * w + 5]
    np.testing.assert_array_equal(patches[b, t, h, w], np.ravel(block))
