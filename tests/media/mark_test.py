"""Marked films are recognised, after H.264 and resizing; others are not."""

import numpy as np
import pytest
from PIL import Image

from phenaki_jax import storyworld
from phenaki_jax.errors import UserError
from phenaki_jax.media import mark
from phenaki_jax.media.mp4 import write_mp4


def _clip(number):
  return storyworld.training_clip(
    0, number, 'easy', frames=9, size=(64, 64), fps=8, split='heldout'
  ).frames


def test_mark_is_faint():
  frame = _clip(0)[0]
  marked = mark.embed(frame)
  plain = mark.embed(frame, strength=0)
  assert plain.shape == marked.shape == (256, 256, 3)
  np.testing.assert_array_equal(plain[::4, ::4], frame)
  difference = np.abs(marked.astype(int) - plain)
  assert difference.max() == mark.STRENGTH
  assert (difference > 0).mean() > 0.9


@pytest.mark.parametrize('number', range(3))
def test_marked_films_are_told_from_others(number, tmp_path):
  frames = _clip(number)
  path = tmp_path / 'film.mp4'
  write_mp4(path, [mark.embed(frame) for frame in frames], fps=8, provenance={})
  assert mark.score_film(path) > mark.THRESHOLD
  write_mp4(path, frames, fps=8, provenance={})
  assert abs(mark.score_film(path)) < mark.THRESHOLD


def test_a_smaller_film_has_the_mark():
  frames = [
    np.asarray(Image.fromarray(mark.embed(frame)).resize((192, 160)))
    for frame in _clip(1)
  ]
  assert mark.score(frames) > mark.THRESHOLD


def test_what_is_no_film_is_refused(tmp_path):
  (tmp_path / 'film.mp4').write_bytes(b'no film')
  with pytest.raises(UserError, match='cannot read the film'):
    mark.score_film(tmp_path / 'film.mp4')
  with pytest.raises(UserError, match='no frames'):
    mark.score([])
