"""Consistency by embeddings, against cosines that are known."""

import numpy as np
import pytest

from phenaki_jax.evaluation.consistency import (
  frame_consistency,
  prompt_consistency,
)


def test_a_static_clip_is_consistent():
  vectors = np.tile(np.array([[3.0, -4.0, 1.0]]), (5, 1))
  assert frame_consistency(vectors) == pytest.approx(1)
  assert prompt_consistency(vectors, vectors[0]) == pytest.approx(1)


def test_cosines_are_averaged_whatever_the_lengths():
  # 60 degrees, then 90, then 180.
  turns = np.deg2rad([0, 60, 150, 330])
  vectors = np.stack([np.cos(turns), np.sin(turns)], -1)
  vectors *= np.array([[1], [2], [0.1], [7]])
  expected = (0.5 + 0 - 1) / 3
  assert frame_consistency(vectors) == pytest.approx(expected)
  prompt = np.array([5.0, 0.0])
  expected = np.cos(turns).mean()
  assert prompt_consistency(vectors, prompt) == pytest.approx(expected)


def test_what_has_no_cosine_is_refused():
  with pytest.raises(ValueError, match='needs at least 2'):
    frame_consistency(np.ones((1, 3)))
  with pytest.raises(ValueError, match='has no direction'):
    frame_consistency(np.zeros((2, 3)))
  with pytest.raises(ValueError, match='has no direction'):
    prompt_consistency(np.ones((2, 3)), np.zeros(3))
