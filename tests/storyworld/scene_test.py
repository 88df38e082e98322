import numpy as np
import pytest

from phenaki_jax import storyworld
from phenaki_jax.storyworld import facts as facts_lib
from phenaki_jax.storyworld import palette
from phenaki_jax.storyworld import scene as scene_lib


def _scene(motion, **kwargs):
  return storyworld.Scene(
    facts=storyworld.Facts(
      shape='star',
      colour='yellow',
      motion=motion,
      place='night',
    ),
    **kwargs,
  )


@pytest.mark.parametrize('size', [16, 32, (24, 48), (50, 20)])
def test_clip_has_the_given_size(size):
  frames = storyworld.render_clip(_scene('left'), 3, size)
  height, width = (size, size) if isinstance(size, int) else size
  assert frames.shape == (3, height, width, 3)
  assert frames.dtype == np.uint8


@pytest.mark.parametrize('motion', ['left', 'right', 'up', 'down'])
def test_full_turn_around_the_torus_changes_nothing(motion):
  # A full turn takes 8 frames.
  frames = storyworld.render_clip(_scene(motion, x=0.9, y=0.1), 33, 32)
  np.testing.assert_array_equal(frames[0], frames[8])
  np.testing.assert_array_equal(frames[1], frames[9])
  assert (frames[0] != frames[4]).any()


def test_object_at_the_border_shows_on_both_sides():
  frames = storyworld.render_clip(_scene('right', x=0.5, y=0.5), 9, 32)
  empty = storyworld.render_clip(_scene('right', x=0.5, y=0.0), 1, 32)[0]
  # The object of `empty` is at the top and the bottom, not in the middle rows.
  shown = (np.abs(frames[4, 12:20] - empty[12:20].astype(int)) > 40).any(-1)
  assert shown[:, :4].any() and shown[:, -4:].any()
  assert not shown[:, 14:18].any()


@pytest.mark.parametrize('motion', facts_lib.MOTIONS)
def test_track_per_second_is_independent_of_fps(motion):
  slow = scene_lib.track(_scene(motion), 0, 20)
  fast = scene_lib.track(_scene(motion), 0, 60, fps=24)
  for name in ('x', 'y', 'radius', 'angle'):
    np.testing.assert_allclose(
      getattr(slow, name), getattr(fast, name)[::3], atol=1e-5
    )


@pytest.mark.parametrize(
  'motion', [motion for motion in facts_lib.MOTIONS if motion != 'still']
)
def test_any_part_of_a_clip_shows_the_motion(motion):
  for start in range(0, 60, 5):
    frames = storyworld.render_clip(_scene(motion), 4, 32, start=start)
    assert (frames[1:] != frames[:-1]).any((1, 2, 3)).all()


def test_clip_from_start_equals_the_slice():
  scene = _scene('bounce', x=0.3, phase=2)
  whole = storyworld.render_clip(scene, 9, 32)
  np.testing.assert_array_equal(
    storyworld.render_clip(scene, 4, 32, start=5), whole[5:]
  )


def test_colours_are_far_apart():
  rgb = np.stack([palette.object_rgb(c) for c in facts_lib.COLOURS])
  apart = np.linalg.norm(rgb[:, None] - rgb[None], axis=-1)
  assert apart[~np.eye(len(rgb), dtype=bool)].min() > 60


def test_invalid_values_raise():
  with pytest.raises(ValueError, match='unknown shape'):
    storyworld.Facts(shape='blob', colour='red')
  with pytest.raises(ValueError, match='unknown subset.*easy'):
    storyworld.subset_named('hard')
  with pytest.raises(ValueError, match='fps'):
    storyworld.render_clip(_scene('left'), 3, 32, fps=0)
  with pytest.raises(ValueError, match='too small'):
    storyworld.render_clip(_scene('left'), 3, 4)
