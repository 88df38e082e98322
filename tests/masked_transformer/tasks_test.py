"""Each task against its definition, and the shares of the tasks."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax import rng
from phenaki_jax.masked_transformer.tasks import TASKS, Clips, known_tokens

GRID = (4, 6, 5)
LATENT = np.array([4, 3, 2, 1] * 25, np.int32)


def _clips(seed=0):
  return Clips(
    key=rng.root(seed), grid=GRID, num_latent=jnp.asarray(LATENT), prefix=2
  )


def _known(name):
  return np.asarray(TASKS[name](_clips())).reshape(-1, *GRID)


def _whole_frames(known):
  """Return which latent frames are known, each as a whole."""
  frames = known.all((2, 3))
  np.testing.assert_array_equal(frames, known.any((2, 3)))
  return frames


@pytest.mark.parametrize(
  ('name', 'expected'),
  [
    ('generation', ['....', '....', '....', '....']),
    # Of a clip of one latent frame nothing is known: it is what is predicted.
    ('prediction', ['xx..', 'xx..', 'x...', '....']),
    ('interpolation', ['x..x', 'x.x.', 'x...', '....']),
  ],
)
def test_latent_frames_are_known(name, expected):
  frames = _whole_frames(_known(name))
  wanted = np.array([[mark == 'x' for mark in row] for row in expected])
  np.testing.assert_array_equal(frames, np.tile(wanted, (25, 1)))


def test_a_box_is_hidden_or_known_in_all_latent_frames():
  inside, outside = _known('outpainting'), _known('inpainting')
  np.testing.assert_array_equal(inside, ~outside)
  np.testing.assert_array_equal(inside, inside[:, :1].repeat(4, 1))
  box = inside[:, 0]
  assert (box.sum((1, 2)) == 3 * 3).all()
  # A box is a product of rows and columns.
  rows, columns = box.any(2), box.any(1)
  np.testing.assert_array_equal(box, rows[:, :, None] & columns[:, None])
  places = {
    (row.argmax(), column.argmax())
    for row, column in zip(rows, columns, strict=True)
  }
  assert len(places) == 4 * 3, 'boxes are drawn everywhere'


def test_tasks_are_mixed_by_their_shares():
  shares = {'prediction': 0.3, 'interpolation': 0.0, 'inpainting': 0.5}
  clips = dataclasses.replace(_clips(), num_latent=jnp.full(1000, 4, jnp.int32))
  known = np.asarray(known_tokens(clips, shares)).reshape(-1, *GRID)
  is_prediction = known[:, 0].all((1, 2))
  is_inpainting = ~is_prediction & known.any((1, 2, 3))
  assert np.mean(is_prediction) == pytest.approx(0.3, abs=0.06)
  assert np.mean(is_inpainting) == pytest.approx(0.5, abs=0.06)
  assert not known[~is_prediction & ~is_inpainting].any()
  assert (known[is_inpainting][:, 0].sum((1, 2)) == 30 - 9).all()
