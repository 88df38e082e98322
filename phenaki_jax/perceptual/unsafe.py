"""Unsafe scores of pictures, by the trained classifier open_nsfw."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from phenaki_jax.perceptual.config import PerceptualConfig
from phenaki_jax.perceptual.weights import image_network, open_nsfw_head

_SIDE = 224  # pixels that the classifier sees


class UnsafeScorer:
  """Scores pictures; 0 is safe and 1 is unsafe."""

  def __init__(self) -> None:
    """Read the weights.

    Raises:
      UserError: the packages that hold them are not installed.
    """
    config = PerceptualConfig(image_network='open_nsfw')
    self._network = image_network(config)
    self._head = open_nsfw_head()
    self._score = jax.jit(functools.partial(_score, self._network))

  def __call__(self, frames: UInt8[np.ndarray, 'T 256 256 3']) -> float:
    """Return the highest score of several frames, of which the centre is seen.

    The shape is that with which the classifier was trained, except that the
    frames keep their aspect.
    """
    edge = (frames.shape[1] - _SIDE) // 2
    middle = frames[:, edge : edge + _SIDE, edge : edge + _SIDE]
    # One at a time, so that one shape is compiled.
    scores = [
      self._score(self._network.params, self._head, frame[None])
      for frame in middle
    ]
    return max(float(score[0]) for score in scores)


def _score(
  network: Any, params: Any, head: Any, frames: UInt8[Array, 'B H W 3']
) -> Float[Array, 'B']:
  pixels = frames.astype(jnp.float32) / 127.5 - 1.0
  features = network.features(params, pixels)['stage3'].mean((1, 2))
  logits = features @ head['kernel'] + head['bias'][None]
  return jax.nn.softmax(logits)[:, 1]
