"""The contract of what reads in frames whether prompts came true."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from phenaki_jax.types import VideoU8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
  """What a judge found.

  Attributes:
    right: by fact that the prompts name, whether the frames show it.
    confidence: mean confidence of the readings, in [0, 1].
  """

  right: Mapping[str, bool]
  confidence: float = 0.0

  @property
  def score(self) -> float:
    """Return the share of right facts; the confidence breaks ties."""
    share = sum(self.right.values()) / len(self.right) if self.right else 0.0
    return share + 1e-3 * self.confidence


@runtime_checkable
class Judge(Protocol):
  """Reads frames, such as the oracle of StoryWorld."""

  def __call__(self, prompts: Sequence[str], frames: VideoU8) -> Verdict:
    """Judge frames of a scene.

    Args:
      prompts: of the scenes since the last cut; the scene's own is the last.
      frames: of the scene.
    """
