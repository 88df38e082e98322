"""Features of clips by several networks, and the distances of two sets."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from phenaki_jax.evaluation.distribution import (
  Distribution,
  Features,
  compare_distributions,
)
from phenaki_jax.evaluation.measure import Measure
from phenaki_jax.evaluation.own_measures import OwnMeasures
from phenaki_jax.types import VideoU8


class Gathered:
  """Gathers the features of clips by several networks.

  Attributes:
    count: number of clips so far.
  """

  def __init__(self, networks: Sequence[Features]) -> None:
    """Set the networks."""
    self._networks = networks
    self._sides: dict[int, Distribution] = {}
    self._own: dict[int, OwnMeasures] = {}
    self.count = 0

  def add(self, frames: VideoU8, prompt: str | None = None) -> None:
    """Add a clip, with the prompt that it was generated from, if any."""
    for number, features in enumerate(self._networks):
      vectors = features(frames)
      side = Distribution.of(vectors, seed=(self.count,))
      own = OwnMeasures.of(features, vectors, number=self.count, prompt=prompt)
      if self.count:
        side = self._sides[number] + side
        own = self._own[number] + own
      self._sides[number], self._own[number] = side, own
    self.count += 1

  def compare(
    self,
    batches: Iterable[Mapping[str, np.ndarray]],
    *,
    protocol: Mapping[str, Any],
    on_done: Callable[[int], object] = lambda count: None,
  ) -> tuple[Measure, ...]:
    """Return the distances of the clips from real ones.

    Args:
      batches: the `clips` parts of batches of real clips.
      protocol: what the numbers depend on, beside the networks.
      on_done: called with the number of clips finished since the last call.
    """
    real = Gathered(self._networks)
    for batch in batches:
      for frames, length in zip(
        batch['pixels'], batch['num_frames'], strict=True
      ):
        real.add(frames[: int(length)])
        on_done(1)
    return self.compare_with(real, protocol=protocol)

  def compare_with(
    self, real: 'Gathered', *, protocol: Mapping[str, Any]
  ) -> tuple[Measure, ...]:
    """Return the measures of the clips, and their distances from other ones."""
    return tuple(
      measure
      for number, features in enumerate(self._networks)
      for measure in (
        *compare_distributions(
          self._sides[number], real._sides[number], features, protocol=protocol
        ),
        *self._own[number].measures(features, protocol=protocol),
      )
    )
