"""A character is found on its ground, and a second one is counted."""

import numpy as np
import pytest

from phenaki_jax.evaluation.figures import find_figures
from phenaki_jax.lpc import degradation
from phenaki_jax.lpc.facts import PLACES
from phenaki_jax.lpc.ground import ground


def _frame(place, *corners, side=64):
  """Draw bodies of 22 x 40 pixels on a ground of 128, and reduce it."""
  frame = ground(place, 128).copy()
  for x, y in corners:
    frame[y : y + 20, x : x + 22] = (230, 30, 120)
    frame[y + 20 : y + 40, x : x + 22] = (120, 20, 200)
    frame[y + 18 : y + 20, x + 22 : x + 40] = (60, 230, 230)  # A weapon.
  return degradation.resize(frame[None], side)


@pytest.mark.parametrize('place', PLACES)
@pytest.mark.parametrize('side', [48, 64])
def test_one_character_is_found(place, side):
  frames = np.concatenate(
    [_frame(place, (16, 48), side=side), _frame(place, side=side)]
  )
  found = find_figures(frames, place)
  assert found.count.tolist() == [1, 0]
  # The weapon moves the centre by less than a tenth of the frame.
  assert found.x[0] == pytest.approx(27 / 128, abs=0.03)
  assert found.y[0] == pytest.approx(68 / 128, abs=0.03)
  rows, columns = np.nonzero(found.box[0])
  scale = side / 128
  assert rows.min() == pytest.approx(48 * scale, abs=1.5)
  assert columns.max() == pytest.approx(56 * scale, abs=1.5)
  assert np.isnan(found.x[1]) and not found.box[1].any()


@pytest.mark.parametrize('place', PLACES)
@pytest.mark.parametrize('is_tall', [False, True])
def test_frames_need_not_be_square(place, is_tall):
  square = np.concatenate([_frame(place, (16, 48)), _frame(place)])
  # Tiles of 16 pixels go on beyond the square.
  more = _frame(place)[[0, 0]]
  more = more[:, :32] if is_tall else more[:, :, :32]
  frames = np.concatenate([square, more], axis=1 if is_tall else 2)
  expected, found = (find_figures(f, place) for f in (square, frames))
  assert found.count.tolist() == expected.count.tolist() == [1, 0]
  x, y = (1, 2 / 3) if is_tall else (2 / 3, 1)
  np.testing.assert_allclose(found.x, expected.x * x, atol=0.01)
  np.testing.assert_allclose(found.y, expected.y * y, atol=0.01)
  np.testing.assert_array_equal(found.box[:, :64, :64], expected.box)


def test_blur_leaves_one_character():
  frames = degradation.blur(_frame('night', (16, 48)), 0.8)
  assert find_figures(frames, 'night').count.tolist() == [1]


def test_two_characters_and_another_ground_are_counted():
  frames = _frame('grass', (4, 8), (88, 70))
  assert find_figures(frames, 'grass').count.tolist() == [2]
  # All of the frame differs.
  assert find_figures(frames, 'snow').count[0] > 1
