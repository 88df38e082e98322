"""The label changes the corner of an enlarged frame, and nothing else."""

import numpy as np

from phenaki_jax.media.frames import enlarge
from phenaki_jax.media.label import label


def test_label_is_in_the_corner_of_the_enlarged_frame():
  frame = np.full((64, 64, 3), 90, np.uint8)
  labelled = label(frame)
  assert labelled.shape == (256, 256, 3)
  rows, columns = np.nonzero((labelled != enlarge(frame, 256)).any(-1))
  assert rows.min() > 220 and columns.min() > 128
  # White letters on a dark rectangle.
  assert labelled[rows, columns].max() == 255
  assert labelled[rows, columns].min() < 30
  assert (frame == 90).all()
  assert (label(frame, text='recorded') != labelled).any()


def test_frame_that_is_narrower_than_the_text_keeps_its_size():
  frame = np.zeros((8, 6, 3), np.uint8)
  assert label(frame, min_height=1).shape == frame.shape
