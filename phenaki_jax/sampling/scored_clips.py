"""Clips with their scores."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ScoredClips:
  """Clips, and how good the model takes them to be.

  Attributes:
    frames: uint8 [B, T, H, W, 3].
    likelihood: of each clip, the mean log-probability of its new tokens when
      they were drawn.
    critic: of each clip, the critic's mean log-probability that a new token is
      real; None if the model has no critic.
  """

  frames: np.ndarray
  likelihood: np.ndarray
  critic: np.ndarray | None
