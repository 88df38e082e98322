"""How many of the facts that prompts name a world reads in frames."""

import dataclasses
from collections.abc import Sequence

from phenaki_jax.evaluation.world import World
from phenaki_jax.stories.judge import Verdict
from phenaki_jax.types import VideoU8


@dataclasses.dataclass(frozen=True, kw_only=True)
class PromptOracle:
  """A `Judge` of frames by the facts of their prompts.

  Attributes:
    world: reads the frames.
  """

  world: World

  def __call__(self, prompts: Sequence[str], frames: VideoU8) -> Verdict:
    """Judge which of the expected facts the frames show."""
    facts = self.world.expected(prompts)
    read = self.world.read(frames).facts
    right = {fact: read[fact].value == value for fact, value in facts.items()}
    sure = [read[fact].confidence for fact in facts]
    return Verdict(right=right, confidence=sum(sure) / max(1, len(sure)))
