"""How many of the facts that prompts name an oracle finds in frames."""

import dataclasses
from collections.abc import Sequence

from phenaki_jax.evaluation.storyworld import StoryWorld
from phenaki_jax.storyworld import grammar
from phenaki_jax.types import VideoU8


@dataclasses.dataclass(frozen=True, kw_only=True)
class PromptOracle:
  """Scores frames by the facts of their prompts.

  Attributes:
    world: reads the frames.
  """

  world: StoryWorld

  def expected(self, prompts: Sequence[str]) -> dict[str, str]:
    """Return the facts after the last of the prompts of one take.

    A later prompt changes the facts that it names; a prompt without 'it' that
    names a shape describes a new object and forgets the others.
    """
    facts: dict[str, str] = {}
    for prompt in prompts:
      named = grammar.parse(prompt)
      if 'shape' in named and 'style' in named:
        facts = {}
      facts |= {k: v for k, v in named.items() if isinstance(v, str)}
    several = self.world.subset.values
    return {fact: v for fact, v in facts.items() if len(several(fact)) > 1}

  def __call__(self, prompts: Sequence[str], frames: VideoU8) -> float:
    """Return the share of the expected facts that the frames show, 0 to 1.

    A thousandth of the mean confidence is added, which breaks ties.
    """
    facts = self.expected(prompts)
    if not facts:
      return 0.0
    read = self.world.read(frames).facts
    right = [read[fact].value == value for fact, value in facts.items()]
    sure = [read[fact].confidence for fact in facts]
    return sum(right) / len(right) + 1e-3 * sum(sure) / len(sure)
