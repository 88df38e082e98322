"""The Frechet distance of single frames of stories, as story papers measure it.

StoryDALL-E and AR-LDM reduce every real and generated frame to 64 x 64 pixels
before the network enlarges it again, although AR-LDM draws at 512. A distance
without this reduction compares with none of theirs, so it is part of the name.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from phenaki_jax.evaluation.distribution import Features
from phenaki_jax.evaluation.frechet import Moments, frechet_distance
from phenaki_jax.evaluation.measure import Measure, network_name, warn_of_few
from phenaki_jax.types import ImageU8

SIDE = 64
"""Height and width to which frames are reduced, in pixels."""

Frames: TypeAlias = (
  UInt8[np.ndarray, '_ _ _ 3'] | Sequence[UInt8[np.ndarray, '_ _ 3']]
)
"""Frames of any size, which may differ in it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReducedFeatures:
  """`Features` of frames that are reduced first.

  Attributes:
    features: of single frames.
  """

  features: Features
  of_clips = False

  def __post_init__(self) -> None:
    if self.features.of_clips:
      raise ValueError('story FID compares single frames, not clips')

  def __call__(self, frames: Frames) -> Float[np.ndarray, 'vectors features']:
    """Return the vector of each frame."""
    return self.features(np.stack([reduce_frame(frame) for frame in frames]))

  def describe(self) -> Mapping[str, Any]:
    """Return what determines the vectors, as JSON values."""
    return {
      **self.features.describe(),
      'reduced_to': SIDE,
      'reduce': 'centre square, bilinear, antialiased',
    }


def reduce_frame(frame: ImageU8) -> UInt8[np.ndarray, '64 64 3']:
  """Reduce the square in the centre of a frame."""
  height, width = frame.shape[:2]
  side = min(height, width)
  left, top = (width - side) / 2, (height - side) / 2
  return np.asarray(
    Image.fromarray(frame).resize(
      (SIDE, SIDE),
      Image.Resampling.BILINEAR,
      box=(left, top, left + side, top + side),
    )
  )


class StoryFrames:
  """Gathers the frames of generated and of real stories, for story FID."""

  def __init__(self, features: Features) -> None:
    """Set the features of single frames; they are reduced here."""
    self._features = ReducedFeatures(features=features)
    self._sides: dict[str, Moments] = {}

  def add(self, *, generated: Frames, real: Frames) -> None:
    """Add a story of frames of any size, without a given source frame."""
    for side, frames in (('generated', generated), ('real', real)):
      new = Moments.of(self._features(frames))
      before = self._sides.get(side)
      self._sides[side] = new if before is None else before + new

  def measure(self, *, protocol: Mapping[str, Any]) -> Measure:
    """Return the Frechet distance of the frames of at least two stories.

    Args:
      protocol: what else the number depends on: samples, set and split.
    """
    network = self._features.describe()
    counts = {name: side.count for name, side in self._sides.items()}
    warn_of_few('fid', tuple(counts.values()))
    return Measure(
      name=f'story_fid_{SIDE}px@{network_name(network)}',
      value=frechet_distance(self._sides['generated'], self._sides['real']),
      protocol={
        **protocol,
        **network,
        'vectors_of': 'frames',
        'vectors': counts,
        'repeats': 1,
      },
    )
