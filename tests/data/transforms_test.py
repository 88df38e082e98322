import numpy as np
import pytest
from PIL import Image

from phenaki_jax.data import transforms


def picture(pixels, mode=None):
  return Image.fromarray(np.asarray(pixels, np.uint8), mode)


@pytest.mark.parametrize('shape', [(40, 80), (80, 40), (33, 35), (7, 5)])
@pytest.mark.parametrize('size', [(32, 32), (24, 40), (64, 16), (1, 1)])
def test_any_shape_fits_any_size(shape, size):
  pixels = np.full((*shape, 3), 200, np.uint8)
  fitted = transforms.fit(picture(pixels), size)
  assert fitted.shape == (*size, 3) and fitted.dtype == np.uint8
  assert (fitted == 200).all()


def test_the_centre_and_the_aspect_are_preserved():
  # A disc in the centre of a wide image stays a disc in the centre.
  y, x = np.mgrid[:60, :120]
  disc = (y - 29.5) ** 2 + (x - 59.5) ** 2 < 20**2
  pixels = np.repeat(disc[:, :, None] * 255, 3, axis=2)
  fitted = transforms.fit(picture(pixels), (30, 30))[:, :, 0] > 127
  rows, columns = np.nonzero(fitted)
  assert rows.mean() == pytest.approx(14.5, abs=0.1)
  assert columns.mean() == pytest.approx(14.5, abs=0.1)
  assert np.ptp(rows) == np.ptp(columns) == 19
  np.testing.assert_array_equal(fitted, fitted.T)


def test_scaling_down_averages():
  pixels = np.zeros((64, 64, 3), np.uint8)
  pixels[:, ::2] = 255
  fitted = transforms.fit(picture(pixels), (8, 8))
  np.testing.assert_allclose(fitted, 127.5, atol=6)


def test_the_same_size_is_a_copy():
  pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
  fitted = transforms.fit(picture(pixels), (4, 4))
  np.testing.assert_array_equal(fitted, pixels)
  fitted[0] = 0  # This must not change the image it was made from.


@pytest.mark.parametrize('mode', ['1', 'L', 'P', 'RGB', 'CMYK', 'YCbCr', 'I'])
def test_every_mode_becomes_rgb_over_the_full_range(mode):
  pixels = np.zeros((4, 8, 3), np.uint8)
  pixels[:, 4:] = 255
  rgb = transforms.to_rgb(picture(pixels).convert(mode))
  assert rgb.mode == 'RGB'
  np.testing.assert_allclose(np.asarray(rgb), pixels, atol=2)


def test_sixteen_bits_are_scaled_not_clipped():
  values = np.array([[0, 32768, 65535]], np.uint16)
  rgb = np.asarray(transforms.to_rgb(Image.fromarray(values)))
  np.testing.assert_array_equal(rgb[0, :, 0], [0, 128, 255])


def test_transparent_pixels_become_white():
  pixels = np.zeros((2, 2, 4), np.uint8)
  pixels[0] = (255, 0, 0, 255)
  rgb = np.asarray(transforms.to_rgb(picture(pixels)))
  np.testing.assert_array_equal(rgb[0], [(255, 0, 0)] * 2)
  np.testing.assert_array_equal(rgb[1], [(255, 255, 255)] * 2)


@pytest.mark.parametrize(
  'data',
  [
    b'',
    b'Exif\0\0',
    b'II*\0',
    b'MM\0*\xff\xff\xff\xff',
    b'II*\0\x08\0\0\0\xff\xff' + b'\x12\x01\x02\0\1\0\0\0' + b'6\0\0\0',
  ],
)
def test_no_orientation_is_upright(data):
  assert transforms.orientation(data) not in range(2, 9)


@pytest.mark.parametrize('side', [48, 49, 90, 240, 1000])
def test_fast_scaling_is_nearly_that_of_pillow(side):
  pixels = np.random.default_rng(side).integers(0, 256, (side, side, 3))
  # Noise of a few pixels, as pictures have.
  smooth = sum(
    np.roll(pixels, (y, x), axis=(0, 1)) for y in range(3) for x in range(3)
  )
  source = picture((smooth / 9).astype(np.uint8))
  exact = np.asarray(source.resize((16, 16), Image.Resampling.BICUBIC), int)
  fitted = transforms.fit(source, (16, 16)).astype(int)
  assert np.abs(fitted - exact).mean() < 2
  assert np.abs(fitted - exact).max() < 12
