"""How well a model tells StoryWorld's stories, as the oracle reads them."""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from phenaki_jax.evaluation.storyworld import (
  STORIES,
  Setup,
  check_count,
  count_facts,
  draw_seed,
  in_batches,
  in_order,
)
from phenaki_jax.evaluation.tally import Tally, total
from phenaki_jax.stories.generate import ClipMaker, generate_batch
from phenaki_jax.stories.story import Scene, Story
from phenaki_jax.storyworld import is_held_out, sample_story
from phenaki_jax.storyworld import score as score_lib
from phenaki_jax.storyworld import story as storyworld_story


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoryReport:
  """Hold how well stories are told; see `storyworld.score` for the terms.

  Attributes:
    facts: counts by fact, over all scenes.
    scenes: counts by scene, over all facts.
    splits: counts over all facts of scenes whose combination training shows
      ('train') and of those it never does ('heldout').
    persistence: share, in later scenes, of what has not changed since the
      first and is still right; the mean of all stories.
    last_persistence: the same of the last scene alone.
    smoothness: the mean share of joins over which the object moves on without
      a jump.
    continuity: the same of joins that also keep every fact they should.
    stories: the first few, as (prompts, frames of each scene).
  """

  facts: dict[str, Tally]
  scenes: tuple[Tally, ...]
  splits: dict[str, Tally]
  persistence: float
  last_persistence: float
  smoothness: float
  continuity: float
  stories: tuple[tuple[tuple[str, ...], tuple[np.ndarray, ...]], ...]

  @property
  def total(self) -> Tally:
    """Return the counts over all facts and scenes."""
    return total(self.facts.values())


def report_stories(
  maker: ClipMaker,
  setup: Setup,
  *,
  stories: int,
  scenes: int,
  frames_per_scene: int,
  context_frames: int,
  shown: int = 4,
  on_done: Callable[[int], object] = lambda count: None,
) -> StoryReport:
  """Tell stories in which facts change one or two at a time, and read them.

  Any combination of facts may come up, held out or not: stories of held-out
  scenes alone could change little but the place.

  Args:
    maker: the model.
    setup: how it is asked.
    stories: how many, 1 or more.
    scenes: of each story, 1 or more.
    frames_per_scene: length of every scene.
    context_frames: K.
    shown: how many stories are kept to look at.
    on_done: told how many stories are done since the last call.
  """
  check_count('stories', stories)
  check_count('scenes', scenes)
  asked = []
  for index in range(stories):
    rng = np.random.default_rng((setup.seed, STORIES, index))
    story = sample_story(rng, setup.subset, scenes, frames_per_scene, 'all')
    asked.append((story, _story(story, setup, context_frames, draw_seed(rng))))
  tallies: dict[str, Tally] = {}
  by_scene = [Tally() for _ in range(scenes)]
  by_split = {'train': Tally(), 'heldout': Tally()}
  scores: list[score_lib.StoryScore] = []
  kept: list[tuple[tuple[str, ...], tuple[np.ndarray, ...]]] = []
  for batch, row in in_batches(asked, setup.batch_size):
    parts = list(generate_batch(maker, [asked for _, asked in row]))
    frames = np.concatenate([part.frames for part in parts], axis=1)
    for i, (story, _) in enumerate(batch):
      score = score_lib.score_story(frames[i], story, setup.subset, setup.fps)
      scores.append(score)
      for number, scene in enumerate(score.scenes):
        count_facts(tallies, scene)
        held_out = is_held_out(story.scenes[number].facts)
        split = 'heldout' if held_out else 'train'
        for fact, is_right in scene.right.items():
          unsure = scene.reading[fact] is None
          by_scene[number] = by_scene[number].add(is_right, unsure)
          by_split[split] = by_split[split].add(is_right, unsure)
      if len(kept) < shown:
        pieces = tuple(frames[i][start:stop] for start, stop in story.spans)
        kept.append((story.prompts, pieces))
    on_done(len(batch))
  return StoryReport(
    facts=in_order(tallies),
    scenes=tuple(by_scene),
    splits={name: tally for name, tally in by_split.items() if tally.asked},
    persistence=_mean([score.persistence for score in scores]),
    last_persistence=_mean([score.last_persistence for score in scores]),
    smoothness=_mean([score.smoothness for score in scores]),
    continuity=_mean([score.continuity for score in scores]),
    stories=tuple(kept),
  )


def _story(
  story: storyworld_story.Story,
  setup: Setup,
  context_frames: int,
  seed: int,
) -> Story:
  scenes = tuple(
    Scene(
      prompt=scene.prompt,
      frames=scene.frames,
      cut=scene.cut or not number,
      seed=seed,
    )
    for number, scene in enumerate(story.scenes)
  )
  return Story(
    scenes=scenes,
    size=setup.size,
    fps=setup.fps,
    context_frames=context_frames,
    sampling=setup.settings,
  )


def _mean(values: Sequence[float]) -> float:
  known = [value for value in values if not math.isnan(value)]
  return float(np.mean(known)) if known else math.nan
