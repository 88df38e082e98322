"""The Frechet distance of single frames of stories, as story papers measure it.

StoryDALL-E and AR-LDM reduce every real and generated frame to 64 x 64 pixels
before the network enlarges it again, although AR-LDM draws at 512. A distance
without this reduction compares with none of theirs, so it is part of the name.
"""

import dataclasses
import functools
import operator
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from phenaki_jax.evaluation.distribution import Features
from phenaki_jax.evaluation.frechet import Moments, frechet_distance
from phenaki_jax.evaluation.measure import Measure, network_name, warn_of_few
from phenaki_jax.types import ImageU8, VideoU8

SIDE = 64
"""Height and width to which frames are reduced, in pixels."""


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

  def __call__(self, frames: VideoU8) -> Float[np.ndarray, 'vectors features']:
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


def story_fid(
  generated: Iterable[VideoU8],
  real: Iterable[VideoU8],
  features: Features,
  *,
  protocol: Mapping[str, Any],
) -> Measure:
  """Return the Frechet distance of the frames of stories.

  Args:
    generated: the frames of each story, without a given source frame.
    real: likewise, of the same split.
    features: of single frames; they are reduced here.
    protocol: what else the number depends on, such as the set and the split.
  """
  reduced = ReducedFeatures(features=features)
  one, other = (
    functools.reduce(
      operator.add, (Moments.of(reduced(frames)) for frames in side)
    )
    for side in (generated, real)
  )
  network = reduced.describe()
  warn_of_few('fid', (one.count, other.count))
  return Measure(
    name=f'story_fid_{SIDE}px@{network_name(network)}',
    value=frechet_distance(one, other),
    protocol={
      **protocol,
      **network,
      'vectors_of': 'frames',
      'vectors': {'generated': one.count, 'real': other.count},
      'repeats': 1,
    },
  )
