"""Each task of the canvas against its definition, and their shares."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax import rng
from phenaki_jax.masked_transformer.canvas_tasks import (
  CANVAS_TASKS,
  CLAMPED_SHARE,
  LEVELS,
  CanvasClips,
  draw_shown,
  shown_tokens,
)
from phenaki_jax.masked_transformer.tasks import Clips, known_tokens
from phenaki_jax.nn.conditions import ABSENT

FRAMES = np.array([7, 5, 3, 1] * 50, np.int32)
SHAPE = (7, 6, 5)
GRID = (4, 3, 2)


def _clips():
  latent = jnp.asarray(1 + (FRAMES - 1) // 2)
  clips = Clips(key=rng.root(0), grid=GRID, num_latent=latent, prefix=2)
  return CanvasClips(
    clips=clips, num_frames=jnp.asarray(FRAMES), shape=SHAPE, tubelet=2
  )


# In the last draw each task has a tenth of the clips, and others three.
MIXED = 'mixed'


@functools.cache
def _drawn():
  """Return what is shown, the tokens too, of each task alone and of all."""

  @jax.jit
  def drawn():
    clips, found = _clips(), {}
    for name in (*CANVAS_TASKS, MIXED):
      shares, below = {name: 1.0}, 0.0
      if name == MIXED:
        shares, below = dict.fromkeys(CANVAS_TASKS, 0.1), 0.3
      chosen, shown = draw_shown(clips, shares, below=below)
      found[name] = chosen, shown, shown_tokens(clips, shown)
    return found, known_tokens(clips.clips, {'inpainting': 0.3})

  return jax.tree.map(np.asarray, drawn())


def _shown(name):
  chosen, shown, _ = _drawn()[0][name]
  assert chosen.all()
  assert not shown.pixels[np.arange(7)[None] >= FRAMES[:, None]].any()
  return shown.pixels, shown.prefix, shown.level


def _frames(name):
  """Return which frames are known, each as a whole, and the prefixes."""
  pixels, prefix, level = _shown(name)
  frames = pixels.all((2, 3))
  np.testing.assert_array_equal(frames, pixels.any((2, 3)))
  assert (level == ABSENT).all()
  is_clamped = prefix > 0
  assert 0.5 < is_clamped.mean() < 0.9
  return frames, prefix


def test_an_animation_shows_the_first_frame():
  frames, prefix = _frames('animation')
  assert frames[:, 0].all() and not frames[:, 1:].any()
  assert set(prefix) == {0, 1}


def test_a_continuation_shows_a_prefix_of_any_length():
  frames, prefix = _frames('continuation')
  counts = frames.sum(1)
  np.testing.assert_array_equal(frames, np.arange(7) < counts[:, None])
  for length, expected in ((7, {1, 3, 5}), (5, {1, 3}), (3, {1}), (1, {1})):
    assert set(counts[length == FRAMES]) == expected
  # What is shown of tokens is what these frames have.
  latent = 1 + (counts - 1) // 2
  assert ((prefix == 0) | (prefix == latent)).all()


def test_an_interpolation_shows_every_so_many_frames():
  frames, prefix = _frames('interpolation')
  assert set(prefix) == {0, 1}
  skips = set()
  for known, length in zip(frames, FRAMES, strict=True):
    (places,) = np.nonzero(known)
    skip = places[1] if len(places) > 1 else 2
    np.testing.assert_array_equal(places, np.arange(0, length, skip))
    if length == 7:
      skips.add(int(skip))
  assert skips == {2, 3, 4, 5, 6}


def test_a_region_is_a_box_that_is_not_shown():
  pixels, prefix, _ = _shown('region')
  assert not prefix.any()
  places = set()
  for known in pixels[FRAMES == 7]:
    (hidden,) = {plane.tobytes() for plane in ~known}
    rows, columns = np.nonzero(np.frombuffer(hidden, bool).reshape(6, 5))
    assert (len(set(rows)), len(set(columns))) == (3, 3)
    assert len(rows) == 9 and np.ptp(rows) == np.ptp(columns) == 2
    places.add((rows[0], columns[0]))
  assert len(places) > 6


def test_an_enlarged_clip_is_shown_whole_with_its_level():
  pixels, prefix, level = _shown('enlarged')
  assert pixels[FRAMES == 7].all() and not prefix.any()
  assert set(level) == set(LEVELS)


def test_the_shares_are_those_of_the_clips():
  """Tasks of the canvas take their clips from generation alone."""
  found, known = _drawn()
  chosen, shown, _ = found[MIXED]
  assert 0.4 < chosen.mean() < 0.6
  np.testing.assert_array_equal(shown.pixels.any((1, 2, 3)), chosen)
  assert 0.2 < known.any(1).mean() < 0.4
  assert not (known.any(1) & chosen).any()


@pytest.mark.parametrize('name', CANVAS_TASKS)
def test_shown_tokens_hold_known_pixels_alone(name):
  """And one latent frame at least is left to predict."""
  _, shown, tokens = _drawn()[0][name]
  tokens = tokens.reshape(-1, *GRID)
  whole = shown.pixels.all((2, 3))
  frames = tokens.any((2, 3))
  np.testing.assert_array_equal(frames, tokens.all((2, 3)))
  assert not (frames[:, 0] & ~whole[:, 0]).any()
  later = whole[:, 1:].reshape(-1, 3, 2).all(-1)
  assert not (frames[:, 1:] & ~later).any()
  latent = 1 + (FRAMES - 1) // 2
  assert (frames.sum(1) < latent).all()
  expected = 0 if name in ('region', 'enlarged') else CLAMPED_SHARE
  assert abs(frames[latent > 1].any(1).mean() - expected) < 0.1
