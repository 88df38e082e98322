"""The kernel distance (KID, arXiv 1801.01401) of two sets of features.

It is unbiased, unlike the Frechet distance, so that fewer clips will do. Of
each set at most `MAX_VECTORS` are kept, chosen at random as they come, so that
memory does not grow, and samples of several hosts merge into one of all.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Float64

MAX_VECTORS = 10_000
SUBSETS = 100
SUBSET_VECTORS = 1000


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RandomSample:
  """A random sample of vectors; `+` merges those of two sets.

  Every vector gets a random number, and those with the smallest are kept. The
  sample of a union is therefore the sample of the samples.

  Attributes:
    count: number of vectors that it was drawn from.
    numbers: the random number of each kept vector, sorted.
    vectors: the kept vectors.
    most: number of vectors to keep.
  """

  count: int
  numbers: Float64[np.ndarray, ' kept']
  vectors: Float64[np.ndarray, 'kept features']
  most: int = MAX_VECTORS

  @classmethod
  def of(
    cls,
    vectors: Float[np.ndarray, 'vectors features'],
    *,
    seed: tuple[int, ...],
    most: int = MAX_VECTORS,
  ) -> 'RandomSample':
    """Sample vectors.

    Args:
      vectors: at least one.
      seed: of the random numbers; different for every part of a set.
      most: number of vectors to keep.
    """
    numbers = np.random.default_rng(seed).random(len(vectors))
    return cls(
      count=len(vectors),
      numbers=numbers,
      vectors=vectors.astype(np.float64),
      most=most,
    )._kept()

  def __add__(self, other: 'RandomSample') -> 'RandomSample':
    """Merge two samples."""
    return RandomSample(
      count=self.count + other.count,
      numbers=np.concatenate([self.numbers, other.numbers]),
      vectors=np.concatenate([self.vectors, other.vectors]),
      most=min(self.most, other.most),
    )._kept()

  def _kept(self) -> 'RandomSample':
    order = np.argsort(self.numbers, kind='stable')[: self.most]
    return dataclasses.replace(
      self, numbers=self.numbers[order], vectors=self.vectors[order]
    )


def kernel_distance(
  one: RandomSample, other: RandomSample, *, seed: int = 0
) -> tuple[float, float]:
  """Return the mean and the standard deviation over random subsets.

  Of each side, `SUBSETS` subsets of at most `SUBSET_VECTORS` vectors are drawn,
  as in the published code; the standard deviation is over the subsets.
  """
  size = min(SUBSET_VECTORS, len(one.vectors), len(other.vectors))
  rng = np.random.default_rng(seed)
  values = []
  for _ in range(SUBSETS):
    parts = [
      side.vectors[rng.choice(len(side.vectors), size, replace=False)]
      for side in (one, other)
    ]
    values.append(squared_mmd(*parts))
  return float(np.mean(values)), float(np.std(values))


def squared_mmd(
  one: Float64[np.ndarray, 'vectors features'],
  other: Float64[np.ndarray, 'others features'],
) -> float:
  """Return the unbiased squared maximum mean discrepancy.

  The kernel is (x . y / features + 1)^3 (arXiv 1801.01401, section 3.2; the
  estimator is equation 4). Each side has at least two vectors.
  """
  width = one.shape[1]

  def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a @ b.T / width + 1) ** 3

  def within(a: np.ndarray) -> float:
    total = kernel(a, a).sum() - (((a * a).sum(1) / width + 1) ** 3).sum()
    return total / (len(a) * (len(a) - 1))

  return float(within(one) + within(other) - 2 * kernel(one, other).mean())
