"""Conditions of a sampled clip, and of the passes of guidance."""

import jax.numpy as jnp
import numpy as np

from phenaki_jax.nn.conditions import Canvas, Conditions
from phenaki_jax.sampling.conditions import for_passes, with_depth, with_images

TOKENS = np.arange(8).reshape(2, 2, 2)


def test_guidance_moves_towards_content_and_history():
  conditions, shared = None, {'batch': 2, 'latent_frames': 3}
  for role, count in (
    ('source', 1),
    ('character', 2),
    ('content', 1),
    ('history', 1),
  ):
    images = TOKENS[:count]
    conditions = with_images(conditions, images, **shared, role=role)
  every = for_passes(conditions, 3).memory
  assert every['source'].visible.all() and every['character'].visible.all()
  np.testing.assert_array_equal(every['character'].slots, [[0, 1]] * 6)
  flat = TOKENS.reshape(2, 4)
  np.testing.assert_array_equal(every['character'].values, [flat] * 6)
  for role in ('content', 'history'):
    seen = np.asarray(every[role].visible)
    assert (seen == np.array([True, False, False] * 2)[:, None, None]).all()
  assert for_passes(None, 2) is None


def test_depth_is_beside_known_pixels():
  bits = np.random.default_rng(0)
  canvas = Canvas(
    rgb=jnp.zeros((1, 3, 8, 8, 3), jnp.uint8),
    known=jnp.asarray(bits.random((1, 3, 8, 8)) < 0.5),
  )
  depth = bits.random((1, 3, 8, 8)).astype(np.float32)
  given = Conditions(canvas=canvas, scalars={'fps': jnp.full(1, 8.0)})
  made = with_depth(given, depth, 0)
  np.testing.assert_array_equal(made.canvas.depth, depth)
  assert made.canvas.has_depth.all() and made.scalars.keys() == {'fps', 'level'}
  np.testing.assert_array_equal(made.canvas.known, canvas.known)
  untold = with_depth(given, depth, 0, is_told=False)
  assert untold.scalars.keys() == {'fps'}
  assert np.abs(with_depth(given, depth, 3).canvas.depth - depth).max() > 0.1
