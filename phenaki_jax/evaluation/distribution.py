"""Distances between the distributions of generated and real clips.

By the features of single frames, these are FID and KID; by those of whole
clips, FVD and KVD. KID and KVD are kernel distances.

The Frechet distance is of all clips. Its error is that of the mean over
`PARTS` disjoint parts of them; each of these has a larger distance, because the
bias grows as clips get fewer.
"""

import dataclasses
import functools
import math
import operator
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from phenaki_jax.evaluation import kernel
from phenaki_jax.evaluation.frechet import Moments, frechet_distance
from phenaki_jax.evaluation.kernel import RandomSample, kernel_distance
from phenaki_jax.evaluation.measure import Measure, network_name, warn_of_few
from phenaki_jax.types import VideoU8

PARTS = 5


@runtime_checkable
class Features(Protocol):
  """A network that maps a clip to vectors."""

  @property
  def of_clips(self) -> bool:
    """Return whether a clip has one vector, rather than one per frame."""

  def __call__(self, frames: VideoU8) -> Float[np.ndarray, 'vectors features']:
    """Return the vectors of a clip."""

  def describe(self) -> Mapping[str, Any]:
    """Return what determines the vectors, as JSON values."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Distribution:
  """Features of one side; `+` merges those of two sets of clips.

  Attributes:
    clips: number of clips.
    parts: moments of the vectors of each part of the clips, by its number, 0
      to `PARTS` - 1; a part without clips is left out.
    sample: of the vectors.
  """

  clips: int
  parts: Mapping[int, Moments]
  sample: RandomSample

  @functools.cached_property
  def moments(self) -> Moments:
    """Return the moments of all vectors."""
    return functools.reduce(operator.add, self.parts.values())

  @classmethod
  def of(
    cls,
    vectors: Float[np.ndarray, 'vectors features'],
    *,
    seed: tuple[int, ...],
  ) -> 'Distribution':
    """Summarise the vectors of one clip.

    Args:
      vectors: at least one.
      seed: differs for every clip; its last number is that of the clip.
    """
    return cls(
      clips=1,
      parts={seed[-1] % PARTS: Moments.of(vectors)},
      sample=RandomSample.of(vectors, seed=seed),
    )

  def __add__(self, other: 'Distribution') -> 'Distribution':
    """Merge two sides."""
    parts = dict(self.parts)
    for number, part in other.parts.items():
      parts[number] = parts[number] + part if number in parts else part
    return Distribution(
      clips=self.clips + other.clips,
      parts=parts,
      sample=self.sample + other.sample,
    )


def compare_distributions(
  generated: Distribution,
  real: Distribution,
  features: Features,
  *,
  protocol: Mapping[str, Any],
) -> tuple[Measure, Measure]:
  """Return the Frechet and the kernel distance of two sides.

  Args:
    generated, real: at least two vectors each.
    features: what both were measured by.
    protocol: what else the numbers depend on: frames, size, frame rate.
  """
  network = features.describe()
  counts = generated.moments.count, real.moments.count
  stamp = {
    **protocol,
    **network,
    'vectors_of': 'clips' if features.of_clips else 'frames',
    'samples': {'generated': generated.clips, 'real': real.clips},
    'vectors': {'generated': counts[0], 'real': counts[1]},
  }
  names = ('fvd', 'kvd') if features.of_clips else ('fid', 'kid')
  for name in names:
    warn_of_few(name, counts)
  mean, deviation = kernel_distance(generated.sample, real.sample)
  error = math.nan
  repeats: dict[str, Any] = {'repeats': 1}
  if apart := _distances_of_parts(generated, real):
    error = float(np.std(apart, ddof=1) / math.sqrt(PARTS))
    repeats = {
      'repeats': PARTS,
      'distances_of_parts': apart,
      'error_is': 'standard error of the mean over disjoint parts of the '
      'clips; the value is of all clips',
    }
  where = network_name(network)
  return (
    Measure(
      name=f'{names[0]}@{where}',
      value=frechet_distance(generated.moments, real.moments),
      error=error,
      protocol={**stamp, **repeats},
    ),
    Measure(
      name=f'{names[1]}@{where}',
      value=mean,
      error=deviation,
      protocol={
        **stamp,
        'repeats': kernel.SUBSETS,
        'subset': min(kernel.SUBSET_VECTORS, *counts),
        'error_is': 'standard deviation over the subsets',
      },
    ),
  )


def _distances_of_parts(one: Distribution, other: Distribution) -> list[float]:
  """Return the Frechet distance of each part; none if one is too small."""
  pairs = [(one.parts.get(i), other.parts.get(i)) for i in range(PARTS)]
  distances = []
  for a, b in pairs:
    if a is None or b is None or min(a.count, b.count) < 2:
      return []
    distances.append(frechet_distance(a, b))
  return distances
