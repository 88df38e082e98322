"""What a model remembers of a character or object that was out of sight."""

import dataclasses
from collections.abc import Callable

import numpy as np

from phenaki_jax.evaluation.clips import (
  RETURNS,
  Setup,
  count_facts,
  draw_seed,
  in_batches,
)
from phenaki_jax.evaluation.counts import Table
from phenaki_jax.evaluation.score import ClipScore, score_clip
from phenaki_jax.evaluation.stories import film_scenes, make_story
from phenaki_jax.stories.generate import ClipMaker


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReturnReport:
  """How a character or object looks when it is back.

  Attributes:
    facts: counts by fact, in the last scenes, of the facts that their prompts
      leave open.
    shown: counts of the same facts in the first scenes, whose prompts name
      them: what the model can draw at all.
    stories: the first few, as (prompts, frames of each scene).
  """

  facts: Table
  shown: Table
  stories: tuple[tuple[tuple[str, ...], tuple[np.ndarray, ...]], ...]


def report_returns(
  maker: ClipMaker,
  setup: Setup,
  *,
  returns: int,
  frames_per_scene: int,
  context_frames: int,
  shown: int = 4,
  on_done: Callable[[int], object] = lambda count: None,
) -> ReturnReport:
  """Generate stories in which a character or object leaves and comes back.

  Args:
    maker: the model.
    setup: settings of the evaluation.
    returns: number of stories, at least 1.
    frames_per_scene: frames of each scene, at least 1.
    context_frames: number of context frames of each window, which is less than
      it was away.
    shown: number of stories in the report.
    on_done: called with the number of stories finished since the last call.
  """
  world = setup.world
  asked = []
  for index in range(returns):
    rng = np.random.default_rng((setup.seed, RETURNS, index))
    drawn = world.draw_return(rng)
    lengths = [frames_per_scene] * len(drawn)
    story = make_story(drawn, lengths, setup, context_frames, draw_seed(rng))
    asked.append((drawn, story))
  first: list[ClipScore] = []
  last: list[ClipScore] = []
  kept: list[tuple[tuple[str, ...], tuple[np.ndarray, ...]]] = []
  for batch, padded in in_batches(asked, setup.batch_size):
    parts = film_scenes(maker, [story for _, story in padded])
    for (drawn, _), pieces in zip(batch, parts, strict=False):
      # The facts of the first scene that the last one must show again.
      introduced = dataclasses.replace(drawn[0], facts=drawn[-1].facts)
      first.append(score_clip(pieces[0], introduced, world))
      last.append(score_clip(pieces[-1], drawn[-1], world))
      if len(kept) < shown:
        kept.append((tuple(one.prompt for one in drawn), pieces))
    on_done(len(batch))
  return ReturnReport(
    facts=count_facts(last, world),
    shown=count_facts(first, world),
    stories=tuple(kept),
  )
