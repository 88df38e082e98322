"""Accuracy of a model on stories of StoryWorld, as read by the oracle."""

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np

from phenaki_jax.evaluation.counts import Counts, total
from phenaki_jax.evaluation.storyworld import (
  STORIES,
  Setup,
  check_count,
  count_facts,
  draw_seed,
  in_batches,
)
from phenaki_jax.stories.generate import ClipMaker, generate_batch
from phenaki_jax.stories.story import Scene, Story
from phenaki_jax.storyworld import is_held_out, sample_story
from phenaki_jax.storyworld import score as score_lib
from phenaki_jax.storyworld import story as storyworld_story


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoryReport:
  """How well videos show their stories.

  Attributes:
    facts: counts by fact, over all scenes.
    scenes: counts by scene, over all facts.
    splits: counts over all facts of scenes with combinations of the training
      data ('train') and of those with held-out ones ('heldout').
    persistence, last_persistence, smoothness, continuity: means of the numbers
      of `storyworld.score.StoryScore` over the stories where they are not nan.
    stories: the first few, as (prompts, frames of each scene).
  """

  facts: dict[str, Counts]
  scenes: tuple[Counts, ...]
  splits: dict[str, Counts]
  persistence: float
  last_persistence: float
  smoothness: float
  continuity: float
  stories: tuple[tuple[tuple[str, ...], tuple[np.ndarray, ...]], ...]

  @property
  def total(self) -> Counts:
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
  """Generate stories in which one or two facts change per scene, and read them.

  The scenes have any combination of facts, held out or not. Stories of held-out
  scenes alone would change little but the place.

  Args:
    maker: the model.
    setup: settings of the evaluation.
    stories: number of stories, at least 1.
    scenes: number of scenes of each story, at least 1.
    frames_per_scene: frames of each scene, at least 1.
    context_frames: number of context frames of each window.
    shown: number of stories in the report.
    on_done: called with the number of stories finished since the last call.

  Raises:
    UserError: `stories` or `scenes` is below 1.
  """
  check_count('stories', stories)
  check_count('scenes', scenes)
  asked = []
  for index in range(stories):
    rng = np.random.default_rng((setup.seed, STORIES, index))
    story = sample_story(rng, setup.subset, scenes, frames_per_scene, 'all')
    asked.append((story, _story(story, setup, context_frames, draw_seed(rng))))
  scores: list[score_lib.StoryScore] = []
  by_split: dict[str, list[score_lib.ClipScore]] = {'train': [], 'heldout': []}
  kept: list[tuple[tuple[str, ...], tuple[np.ndarray, ...]]] = []
  for batch, row in in_batches(asked, setup.batch_size):
    parts = list(generate_batch(maker, [asked for _, asked in row]))
    frames = np.concatenate([part.frames for part in parts], axis=1)
    for i, (story, _) in enumerate(batch):
      score = score_lib.score_story(frames[i], story, setup.subset, setup.fps)
      scores.append(score)
      for scene, of_scene in zip(story.scenes, score.scenes, strict=True):
        split = 'heldout' if is_held_out(scene.facts) else 'train'
        by_split[split].append(of_scene)
      if len(kept) < shown:
        pieces = tuple(frames[i][start:stop] for start, stop in story.spans)
        kept.append((story.prompts, pieces))
    on_done(len(batch))
  return StoryReport(
    facts=count_facts(scene for score in scores for scene in score.scenes),
    scenes=tuple(
      _total(score.scenes[i] for score in scores) for i in range(scenes)
    ),
    splits={name: _total(found) for name, found in by_split.items() if found},
    persistence=score_lib.mean(score.persistence for score in scores),
    last_persistence=score_lib.mean(score.last_persistence for score in scores),
    smoothness=score_lib.mean(score.smoothness for score in scores),
    continuity=score_lib.mean(score.continuity for score in scores),
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


def _total(scores: Iterable[score_lib.ClipScore]) -> Counts:
  return total(count_facts(scores).values())
