"""A film of a square that moves."""

import numpy as np
import pytest


def film(num_frames=6, height=16, width=24):
  """Draw a square of a strong colour that moves over another."""
  frames = np.full((num_frames, height, width, 3), (30, 90, 200), np.uint8)
  for i in range(num_frames):
    frames[i, 4:10, 2 + i : 10 + i] = (220, 40, 30)
  return frames


@pytest.fixture(name='film')
def _film():
  return film
