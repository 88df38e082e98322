"""Features of generated clips, and their distances from those of real ones."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from phenaki_jax.evaluation.distribution import (
  Distribution,
  compare_distributions,
)
from phenaki_jax.evaluation.measure import Measure
from phenaki_jax.runs.networks import NetworkFeatures
from phenaki_jax.types import VideoU8


class Gathered:
  """Gathers the features of clips by several networks.

  Attributes:
    count: number of clips so far.
  """

  def __init__(self, networks: Sequence[NetworkFeatures]) -> None:
    """Set the networks."""
    self._networks = networks
    self._made: dict[int, Distribution] = {}
    self.count = 0

  def add(self, frames: VideoU8) -> None:
    """Add a generated clip."""
    self._add(self._made, frames, 0, self.count)
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
    real: dict[int, Distribution] = {}
    index = 0
    for batch in batches:
      for frames, length in zip(
        batch['pixels'], batch['num_frames'], strict=True
      ):
        self._add(real, frames[: int(length)], 1, index)
        index += 1
        on_done(1)
    return tuple(
      measure
      for number, features in enumerate(self._networks)
      for measure in compare_distributions(
        self._made[number], real[number], features, protocol=protocol
      )
    )

  def _add(
    self, side: dict[int, Distribution], frames: VideoU8, name: int, index: int
  ) -> None:
    for number, features in enumerate(self._networks):
      one = Distribution.of(features, frames, seed=(name, index))
      side[number] = side[number] + one if number in side else one
