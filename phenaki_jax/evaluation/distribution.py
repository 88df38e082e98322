"""Distances between the distributions of generated and real clips.

By the features of single frames, these are FID and KID; by those of whole
clips, FVD and KVD. KID and KVD are kernel distances.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from phenaki_jax.evaluation import kernel
from phenaki_jax.evaluation.frechet import Moments, frechet_distance
from phenaki_jax.evaluation.kernel import RandomSample, kernel_distance
from phenaki_jax.evaluation.measure import Measure, network_name, warn_of_few
from phenaki_jax.types import VideoU8


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
    moments: of all vectors.
    sample: of the vectors.
  """

  clips: int
  moments: Moments
  sample: RandomSample

  @classmethod
  def of(
    cls,
    vectors: Float[np.ndarray, 'vectors features'],
    *,
    seed: tuple[int, ...],
  ) -> 'Distribution':
    """Summarise the vectors of one clip; `seed` differs for every clip."""
    return cls(
      clips=1,
      moments=Moments.of(vectors),
      sample=RandomSample.of(vectors, seed=seed),
    )

  def __add__(self, other: 'Distribution') -> 'Distribution':
    """Merge two sides."""
    return Distribution(
      clips=self.clips + other.clips,
      moments=self.moments + other.moments,
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
  where = network_name(network)
  return (
    Measure(
      name=f'{names[0]}@{where}',
      value=frechet_distance(generated.moments, real.moments),
      protocol={**stamp, 'repeats': 1},
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
