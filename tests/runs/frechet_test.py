"""Features of frames by the trained network."""

import numpy as np
import pytest

from phenaki_jax.runs.frechet import FrameFeatures


@pytest.mark.slow
def test_features_are_of_single_frames_and_name_their_network():
  features = FrameFeatures.open()
  rng = np.random.default_rng(0)
  frames = rng.integers(0, 256, (3, 16, 16, 3), np.uint8)
  frames[2] = frames[0]
  found = features(frames)
  assert found.shape == (3, 1024) and found.dtype == np.float32
  np.testing.assert_allclose(found[2], found[0], rtol=1e-4, atol=1e-4)
  assert np.abs(found[1] - found[0]).max() > 0.1
  described = features.describe()
  assert described['network'] == 'open_nsfw' and described['layer'] == 'stage3'
  assert len(described['weights']) == 64
