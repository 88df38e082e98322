"""Position features depend on coordinates, rotary scores on differences."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenaki_jax.nn.positions import (
  absolute_features,
  distance_features,
  grid_coordinates,
  rotary_angles,
  rotate,
)


def _heads(num, dim, seed):
  values = np.random.default_rng(seed).normal(size=(num, 1, dim))
  return jnp.asarray(values, jnp.float32)


def _scores(query, key, coordinates):
  angles = jnp.asarray(rotary_angles(coordinates, query.shape[-1]))
  return np.einsum('qkd,mkd->qm', rotate(query, angles), rotate(key, angles))


def test_coordinates_are_in_raster_order():
  expected = [(t, h, w) for t in range(2) for h in range(3) for w in range(4)]
  np.testing.assert_array_equal(grid_coordinates(2, 3, 4), expected)


def test_features_differ_at_every_position():
  features = absolute_features(6, 8, 10)
  assert features.shape == (480, 43)
  assert features.dtype == np.float32
  assert np.abs(features).max() <= 1
  assert len(np.unique(np.round(features, 5), axis=0)) == 480


def test_features_of_a_longer_clip_begin_with_those_of_a_shorter_one():
  short, long = absolute_features(2, 3, 4), absolute_features(5, 3, 4)
  np.testing.assert_array_equal(long[: len(short)], short)


def test_features_of_a_finer_grid_describe_the_same_image():
  # The middle of three rows has the position of the middle of nine.
  coarse = absolute_features(1, 3, 3).reshape(3, 3, -1)
  fine = absolute_features(1, 9, 9).reshape(9, 9, -1)
  np.testing.assert_allclose(coarse, fine[1::3, 1::3], atol=1e-6)


def test_the_first_latent_frame_is_marked():
  marks = absolute_features(3, 2, 2)[:, 0]
  np.testing.assert_array_equal(marks, [1] * 4 + [0] * 8)


@pytest.mark.parametrize('shape', [(2, 3, 4), (1, 1, 5), (4, 1, 1)])
def test_products_of_distance_features_are_distances(shape):
  grid = grid_coordinates(*shape)
  features = distance_features(grid)
  assert features.shape == (3, len(grid), sum(shape) - 3)
  for axis, extent in enumerate(shape):
    distance = np.abs(grid[:, None, axis] - grid[None, :, axis])
    np.testing.assert_array_equal(
      features[axis] @ features[axis].T, extent - 1 - 2 * distance
    )
    others = np.delete(features, axis, 0).sum(0)
    assert not (features[axis] @ others.T).any()


@settings(deadline=None, max_examples=20)
@given(
  shift=st.tuples(*[st.integers(-9, 9)] * 3),
  head_dim=st.sampled_from([6, 8, 16]),
  seed=st.integers(0, 99),
)
def test_scores_depend_only_on_differences(shift, head_dim, seed):
  coordinates = grid_coordinates(2, 2, 3)
  query, key = _heads(12, head_dim, seed), _heads(12, head_dim, seed + 1)
  np.testing.assert_allclose(
    _scores(query, key, coordinates),
    _scores(query, key, coordinates + np.array(shift)),
    atol=1e-4,
  )


@pytest.mark.parametrize('axis', [0, 1, 2])
def test_scores_depend_on_every_axis(axis):
  coordinates = grid_coordinates(2, 2, 2)
  stretched = coordinates.copy()
  stretched[:, axis] *= 2
  query, key = _heads(8, 8, 0), _heads(8, 8, 1)
  before = _scores(query, key, coordinates)
  assert np.abs(_scores(query, key, stretched) - before).max() > 0.1


def test_rotation_equals_complex_numbers():
  x = _heads(5, 8, 0)
  angles = np.random.default_rng(2).normal(size=(5, 4)).astype(np.float32)
  pairs = np.asarray(x[..., :4]) + 1j * np.asarray(x[..., 4:])
  turned = pairs * np.exp(1j * angles)[:, None]
  expected = np.concatenate([turned.real, turned.imag], -1)
  np.testing.assert_allclose(
    rotate(x, jnp.asarray(angles)), expected, atol=1e-5
  )


def test_rotation_keeps_the_type_and_leading_dims():
  x = jnp.ones((2, 3, 5, 2, 8), jnp.bfloat16)
  out = rotate(x, jnp.zeros((5, 4)))
  assert out.dtype == jnp.bfloat16
  np.testing.assert_array_equal(out, x)


@pytest.mark.parametrize(('head_dim', 'axes'), [(7, 1), (4, 3), (2, 2)])
def test_a_head_that_is_too_narrow_is_refused(head_dim, axes):
  with pytest.raises(
    ValueError, match=f'even head width of at least {2 * axes}'
  ):
    rotary_angles(np.zeros((4, axes), np.int32), head_dim)
