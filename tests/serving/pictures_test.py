"""Frames have the number they were made with, whoever makes the scene."""

import io

import numpy as np
import pytest
from PIL import Image

from phenaki_jax.serving.pictures import Pictures
from phenaki_jax.stories.kept_scenes import KeptScenes

KEY = 'a' * 32
FRAMES = np.arange(12, dtype=np.uint8)[:, None, None, None] * np.ones(
  (2, 2, 3), np.uint8
)


@pytest.fixture
def pictures(tmp_path):
  return Pictures(KeptScenes(tmp_path), lambda frame: frame)


def _shown(pictures, number):
  png = pictures.png(KEY, FRAMES.shape, number)
  return None if png is None else np.asarray(Image.open(io.BytesIO(png)))[0, 0]


def test_scene_stays_while_somebody_makes_it(pictures):
  for start in (0, 6):
    for maker in ('one', 'other'):
      pictures.add(KEY, start, FRAMES[start : start + 6], maker=maker)
    if not start:
      pictures.drop(KEY, maker='one')
  assert pictures.count(KEY, FRAMES.shape) == 12
  assert [_shown(pictures, n)[0] for n in range(12)] == list(range(12))
  pictures.drop(KEY, maker='one')
  assert pictures.count(KEY, FRAMES.shape) == 12
  pictures.drop(KEY, maker='other')
  assert pictures.count(KEY, FRAMES.shape) == 0


def test_frames_without_those_before_are_not_shown(pictures):
  pictures.add(KEY, 9, FRAMES[9:], maker='one')
  assert pictures.count(KEY, FRAMES.shape) == 0
  assert _shown(pictures, 0) is None
