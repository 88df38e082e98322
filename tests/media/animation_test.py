"""What is encoded decodes to what was given."""

import io

import numpy as np
import pytest
from PIL import Image

from phenaki_jax.media.animation import encode_gif, encode_png


def _frames(count):
  """Make frames of few colours, which GIF's palette holds exactly."""
  colours = np.array([[255, 0, 0], [0, 128, 255], [9, 9, 9]], np.uint8)
  picks = np.random.default_rng(0).integers(0, 3, (count, 6, 8))
  return colours[picks]


def test_png_keeps_every_pixel():
  (frame,) = _frames(1)
  image = Image.open(io.BytesIO(encode_png(frame)))
  np.testing.assert_array_equal(np.asarray(image), frame)


@pytest.mark.parametrize(('fps', 'milliseconds'), [(8.0, 120), (25.0, 40)])
def test_gif_keeps_frames_order_and_speed(fps, milliseconds):
  frames = _frames(5)
  image = Image.open(io.BytesIO(encode_gif(frames, fps=fps)))
  assert image.n_frames == 5
  assert image.info['loop'] == 0
  for index, frame in enumerate(frames):
    image.seek(index)
    assert image.info['duration'] == milliseconds
    np.testing.assert_array_equal(np.asarray(image.convert('RGB')), frame)
