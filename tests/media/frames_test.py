"""Every writer checks its frames, frame rate and suffix."""

import numpy as np
import pytest

from phenaki_jax.media.frames import enlarge, spread
from phenaki_jax.media.gif import write_gif
from phenaki_jax.media.mp4 import write_mp4
from phenaki_jax.media.png import write_png

FRAME = np.zeros((16, 24, 3), np.uint8)


@pytest.mark.parametrize(
  'frame, message',
  [
    (np.zeros((4, 4, 3), np.float32), 'uint8 values 0..255, not float32'),
    (np.zeros((4, 4), np.uint8), r'not \(4, 4\)'),
    (np.zeros((4, 4, 4), np.uint8), r'not \(4, 4, 4\)'),
    (np.zeros((2, 4, 4, 3), np.uint8), r'not \(2, 4, 4, 3\)'),
    (np.zeros((0, 4, 3), np.uint8), r'not \(0, 4, 3\)'),
  ],
)
def test_other_dtypes_and_shapes_are_refused(tmp_path, frame, message):
  with pytest.raises(ValueError, match=message):
    write_png(tmp_path / 'a.png', frame, provenance={})
  with pytest.raises(ValueError, match=message):
    write_gif(tmp_path / 'a.gif', [frame], fps=8, provenance={})
  with pytest.raises(ValueError, match=message):
    write_mp4(tmp_path / 'a.mp4', [frame], fps=8, provenance={})
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('fps', [0, -8, 1001, float('nan')])
def test_other_frame_rates_are_refused(tmp_path, fps):
  with pytest.raises(ValueError, match=f'fps is {fps}'):
    write_mp4(tmp_path / 'a.mp4', [FRAME], fps=fps, provenance={})


@pytest.mark.parametrize(
  'height, least, expected',
  [(32, 256, 256), (48, 256, 288), (256, 256, 256), (300, 256, 300), (7, 1, 7)],
)
def test_small_images_grow_by_integer_factors(height, least, expected):
  image = np.random.default_rng(0).integers(0, 256, (height, 5, 3), np.uint8)
  large = enlarge(image, least)
  factor = expected // height
  assert large.shape == (expected, 5 * factor, 3)
  np.testing.assert_array_equal(large[::factor, ::factor], image)


@pytest.mark.parametrize('suffix', ['.mp4', '.gif', '.png'])
def test_other_suffixes_are_refused(tmp_path, suffix):
  wrong = tmp_path / 'a.avi'
  with pytest.raises(ValueError, match=f'must end in {suffix}'):
    if suffix == '.png':
      write_png(wrong, FRAME, provenance={})
    elif suffix == '.gif':
      write_gif(wrong, [FRAME], fps=8, provenance={})
    else:
      write_mp4(wrong, [FRAME], fps=8, provenance={})


@pytest.mark.parametrize(
  'count, most, expected',
  [(17, 5, [0, 4, 8, 12, 16]), (3, 8, [0, 1, 2]), (9, 1, [0]), (1, 4, [0])],
)
def test_chosen_indices_are_spread_evenly(count, most, expected):
  assert spread(count, most) == expected
