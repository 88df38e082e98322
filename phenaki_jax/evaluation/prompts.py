"""How many of the facts that prompts name an oracle finds in frames."""

import dataclasses
from collections.abc import Sequence

from phenaki_jax.evaluation.storyworld import StoryWorld
from phenaki_jax.stories.judge import Verdict
from phenaki_jax.storyworld import grammar
from phenaki_jax.types import VideoU8


@dataclasses.dataclass(frozen=True, kw_only=True)
class PromptOracle:
  """A `Judge` of frames by the facts of their prompts.

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

  def __call__(self, prompts: Sequence[str], frames: VideoU8) -> Verdict:
    """Judge which of the expected facts the frames show."""
    facts = self.expected(prompts)
    read = self.world.read(frames).facts
    right = {fact: read[fact].value == value for fact, value in facts.items()}
    sure = [read[fact].confidence for fact in facts]
    return Verdict(right=right, confidence=sum(sure) / max(1, len(sure)))
