"""Blurred depth has lost what its level says."""

import jax.numpy as jnp
import numpy as np

from phenaki_jax.masked_transformer.structure import (
  MAX_LEVEL,
  blurred,
  with_structure,
)
from phenaki_jax.nn.conditions import Canvas

DEPTH = np.random.default_rng(0).random((8, 2, 16, 12)).astype(np.float32)
LEVELS = np.arange(MAX_LEVEL + 1, dtype=np.float32)


def test_a_level_takes_detail_and_keeps_what_is_even():
  same = np.repeat(DEPTH[:1], 8, 0)
  soft = np.asarray(blurred(jnp.asarray(same), jnp.asarray(LEVELS)))
  np.testing.assert_array_equal(soft[0], same[0])
  detail = np.abs(np.diff(soft, axis=-1)).mean((1, 2, 3))
  assert (np.diff(detail) <= 1e-6).all() and (
    detail[:4] > 1.5 * detail[1:5]
  ).all()
  # Nothing is left within a frame of 16 pixels at a level of 4.
  assert np.ptp(soft[4:], axis=(2, 3)).max() < 1e-6
  # The frames of a clip are not mixed.
  alone = blurred(jnp.asarray(same[:, 1:]), jnp.asarray(LEVELS))
  np.testing.assert_allclose(soft[:, 1:], alone, atol=1e-6)
  even = np.full_like(DEPTH, 0.3)
  np.testing.assert_allclose(
    blurred(jnp.asarray(even), jnp.asarray(LEVELS)), even, atol=1e-6
  )


def test_what_is_lost_does_not_come_back():
  """Two depths with the same averages are the same at a level."""
  board = np.indices((16, 16)).sum(0) % 2
  depths = np.stack([board, 1 - board])[:, None].astype(np.float32)
  soft = np.asarray(blurred(jnp.asarray(depths), jnp.full(2, 3.0)))
  assert np.abs(soft[0] - soft[1]).max() < 0.02


def test_frames_that_are_not_shown_have_no_depth():
  canvas = Canvas(
    rgb=jnp.zeros((8, 2, 16, 12, 3), jnp.uint8),
    known=jnp.zeros((8, 2, 16, 12), bool),
  )
  shown = np.zeros((8, 2), bool)
  shown[3, 1] = True
  made = with_structure(
    canvas, jnp.asarray(DEPTH), jnp.zeros(8), jnp.asarray(shown)
  )
  np.testing.assert_array_equal(made.depth[3, 1], DEPTH[3, 1])
  assert float(made.depth.sum()) == float(made.depth[3, 1].sum())
  np.testing.assert_array_equal(made.has_depth.all((2, 3)), shown)
