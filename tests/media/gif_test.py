"""GIF files play back what was written."""

import io

import numpy as np
import pytest
from PIL import Image

from phenaki_jax.media.gif import encode_gif, write_gif

# Frames without the label.
RECORDED = {'notice': 'recorded'}


def read_gif(path):
  frames, delays = [], []
  with Image.open(path) as picture:
    for i in range(picture.n_frames):
      picture.seek(i)
      frames.append(np.asarray(picture.convert('RGB')))
      delays.append(picture.info['duration'])
  return np.stack(frames), delays


def test_written_frames_are_enlarged(tmp_path, film):
  path = tmp_path / 'film.gif'
  write_gif(path, film(), fps=10, provenance=RECORDED)
  frames, delays = read_gif(path)
  enlarged = film().repeat(16, axis=1).repeat(16, axis=2)
  assert delays == [100] * 6
  np.testing.assert_allclose(frames, enlarged, atol=8)


def test_duration_is_right_although_delays_are_rounded(tmp_path, film):
  path = tmp_path / 'film.gif'
  write_gif(path, film(9), fps=8, provenance=RECORDED, min_height=1)
  _, delays = read_gif(path)
  assert set(delays) == {120, 130}
  assert sum(delays) == pytest.approx(9 / 8 * 1000, abs=5)


def test_film_repeats_indefinitely(tmp_path, film):
  path = tmp_path / 'film.gif'
  write_gif(path, film(), fps=8, provenance={})
  with Image.open(path) as picture:
    assert picture.info['loop'] == 0


def test_still_colours_do_not_flicker(tmp_path):
  # Noise in one half would draw a palette of its own for each frame.
  frames = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
  frames[:, :, :16] = np.arange(16)[None, None, :, None] * 16
  path = tmp_path / 'film.gif'
  write_gif(path, frames, fps=8, provenance=RECORDED, min_height=1)
  still = read_gif(path)[0][:, :, :16]
  np.testing.assert_array_equal(still, np.broadcast_to(still[0], still.shape))


def test_more_than_50_frames_per_second_are_refused(tmp_path, film):
  with pytest.raises(ValueError, match='fps is 60'):
    write_gif(tmp_path / 'a.gif', film(), fps=60, provenance={})


def test_no_frames_and_several_sizes_are_refused(tmp_path, film):
  path = tmp_path / 'a.gif'
  with pytest.raises(ValueError, match='no frames'):
    write_gif(path, [], fps=8, provenance={})
  with pytest.raises(ValueError, match='one size'):
    write_gif(path, [film()[0], film(1, 8, 8)[0]], fps=8, provenance={})
  assert not list(tmp_path.iterdir())


def test_few_colours_are_encoded_exactly():
  colours = np.array([[255, 0, 0], [0, 128, 255], [9, 9, 9]], np.uint8)
  frames = colours[np.random.default_rng(0).integers(0, 3, (5, 6, 8))]
  with Image.open(io.BytesIO(encode_gif(frames, fps=25.0))) as picture:
    assert picture.n_frames == 5 and 'comment' not in picture.info
    for index, frame in enumerate(frames):
      picture.seek(index)
      assert picture.info['duration'] == 40
      np.testing.assert_array_equal(np.asarray(picture.convert('RGB')), frame)
