"""The Frechet distance between the features of real and generated clips.

The features of both sides are summarised by a Gaussian, whose mean and
covariance are gathered in float64 as the clips come. The distance depends on
the network, the size of the frames and the number of clips, so that a value
says nothing without them; the bias of few clips is the same for models that
are measured alike.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from jaxtyping import Float, Float64

from phenaki_jax.types import VideoU8

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
  """Mean and scatter of vectors; `+` merges those of two sets.

  Attributes:
    count: number of vectors.
    mean: of the vectors.
    scatter: sum of the outer products of their deviations from the mean.
  """

  count: int
  mean: Float64[np.ndarray, ' features']
  scatter: Float64[np.ndarray, 'features features']

  @classmethod
  def of(cls, vectors: Float[np.ndarray, 'vectors features']) -> 'Moments':
    """Summarise at least one vector."""
    vectors = vectors.astype(np.float64)
    mean = vectors.mean(0)
    apart = vectors - mean
    return cls(count=len(vectors), mean=mean, scatter=apart.T @ apart)

  def __add__(self, other: 'Moments') -> 'Moments':
    """Merge two sets (Chan, Golub and LeVeque 1979, equation 2.1)."""
    count = self.count + other.count
    apart = other.mean - self.mean
    return Moments(
      count=count,
      mean=self.mean + apart * (other.count / count),
      scatter=self.scatter
      + other.scatter
      + np.outer(apart, apart) * (self.count * other.count / count),
    )

  @property
  def covariance(self) -> Float64[np.ndarray, 'features features']:
    """Return the unbiased covariance of at least two vectors."""
    return self.scatter / (self.count - 1)


def frechet_distance(a: Moments, b: Moments) -> float:
  """Return the squared Frechet distance of two Gaussians (arXiv 1706.08500).

  It is |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)). The trace of the
  root is the sum of the roots of the eigenvalues of C_a^(1/2) C_b C_a^(1/2),
  which is symmetric, so that no complex number and no inverse appears.
  """
  one, other = a.covariance, b.covariance
  values, vectors = np.linalg.eigh(one)
  root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
  shared = np.linalg.eigvalsh(root @ other @ root)
  apart = a.mean - b.mean
  overlap = np.sqrt(np.maximum(shared, 0)).sum()
  return float(apart @ apart + np.trace(one) + np.trace(other) - 2 * overlap)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrechetReport:
  """How far generated clips are from real ones.

  Attributes:
    distances: by what is compared: 'frames', the features of single frames;
      and 'motion', the differences of the features of consecutive frames,
      absent if the clips have one frame.
    clips: number of clips on each side.
    vectors: of each of them, the number on each side (generated, real).
    network: what determines the features, as JSON values.
  """

  distances: dict[str, float]
  clips: tuple[int, int]
  vectors: dict[str, tuple[int, int]]
  network: Mapping[str, object]


class ClipMoments:
  """Gathers the moments of the clips of one side.

  Attributes:
    clips: number of clips so far.
    moments: see `FrechetReport.distances`.
  """

  def __init__(
    self, features: Callable[[VideoU8], Float[np.ndarray, 'T features']]
  ) -> None:
    """Set the function that maps frames to features."""
    self._features = features
    self.clips = 0
    self.moments: dict[str, Moments] = {}

  def add(self, frames: VideoU8, length: int | None = None) -> None:
    """Add the first `length` frames of a clip; None for all of them."""
    found = self._features(frames)[:length]
    vectors = {'frames': found, 'motion': np.diff(found, axis=0)}
    for name, rows in vectors.items():
      if len(rows):
        new = Moments.of(rows)
        self.moments[name] = (
          self.moments[name] + new if name in self.moments else new
        )
    self.clips += 1


def report_frechet(
  generated: ClipMoments,
  batches: Iterable[Mapping[str, np.ndarray]],
  *,
  features: Callable[[VideoU8], Float[np.ndarray, 'T features']],
  network: Mapping[str, object],
  on_done: Callable[[int], object] = lambda count: None,
) -> FrechetReport:
  """Compare generated clips with real ones.

  Fewer vectors than features are logged as a warning: the covariance is then
  singular, and the distance much larger than that of more clips.

  Args:
    generated: the moments of the generated clips.
    batches: the `clips` parts of batches of real clips.
    features: maps frames to features.
    network: what determines the features.
    on_done: called with the number of clips finished since the last call.
  """
  real = ClipMoments(features)
  for batch in batches:
    for frames, length in zip(
      batch['pixels'], batch['num_frames'], strict=True
    ):
      real.add(frames, int(length))
      on_done(1)
  both = {
    name: (found, real.moments[name])
    for name, found in generated.moments.items()
    if name in real.moments
  }
  vectors = {name: (a.count, b.count) for name, (a, b) in both.items()}
  width = len(both['frames'][0].mean)
  fewest = min(count for counts in vectors.values() for count in counts)
  if fewest <= width:
    _log.warning(
      'The Frechet distances are of %d vectors of %d features; compare them '
      'only with others of as many clips, or measure more clips.',
      fewest,
      width,
    )
  return FrechetReport(
    distances={name: frechet_distance(*pair) for name, pair in both.items()},
    clips=(generated.clips, real.clips),
    vectors=vectors,
    network=network,
  )
