"""The Inception score (IS, arXiv 1606.03498), gathered as the clips come.

It is exp of the mean divergence of the classes of a frame from those of all
frames. As published, the mean and the standard deviation are over ten parts of
the samples; every clip belongs to one of them.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Float64

PARTS = 10


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ClassScores:
  """Sums of the probabilities of classes; `+` merges those of two sets.

  Attributes:
    counts: number of frames in each part.
    sums: of their probabilities.
    logs: sums of their probabilities times the logarithms of these, in nats.
  """

  counts: Float64[np.ndarray, ' parts']
  sums: Float64[np.ndarray, 'parts classes']
  logs: Float64[np.ndarray, ' parts']

  @classmethod
  def of(
    cls, probabilities: Float[np.ndarray, 'T classes'], *, number: int
  ) -> 'ClassScores':
    """Sum up the frames of the clip with a number, from 0."""
    values = probabilities.astype(np.float64)
    part = np.zeros((PARTS, 1))
    part[number % PARTS] = 1
    logs = (values * np.log(np.maximum(values, 1e-300))).sum()
    return cls(
      counts=part[:, 0] * len(values),
      sums=part * values.sum(0),
      logs=part[:, 0] * logs,
    )

  def __add__(self, other: 'ClassScores') -> 'ClassScores':
    """Merge two sets."""
    return ClassScores(
      counts=self.counts + other.counts,
      sums=self.sums + other.sums,
      logs=self.logs + other.logs,
    )

  def score(self) -> tuple[float, float]:
    """Return the mean and the standard deviation over parts with frames."""
    used = self.counts > 0
    counts = self.counts[used]
    shares = self.sums[used] / counts[:, None]
    entropy = (shares * np.log(np.maximum(shares, 1e-300))).sum(1)
    scores = np.exp(self.logs[used] / counts - entropy)
    return float(scores.mean()), float(scores.std())
