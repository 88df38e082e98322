"""Accuracy of a model on stories of StoryWorld, as read by the oracle."""

import dataclasses
from collections.abc import Callable

import numpy as np

from phenaki_jax.evaluation.counts import Counts, Table
from phenaki_jax.evaluation.storyworld import (
  STORIES,
  Setup,
  count_facts,
  draw_seed,
  in_batches,
)
from phenaki_jax.stories.generate import ClipMaker, generate_batch
from phenaki_jax.stories.story import Scene, Story
from phenaki_jax.storyworld import is_held_out, sample_story
from phenaki_jax.storyworld import score as score_lib
from phenaki_jax.storyworld import story as storyworld_story

_CONSISTENCY = ('persistence', 'last_persistence', 'smoothness', 'continuity')


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoryReport:
  """How well videos show their stories.

  Attributes:
    facts: counts by fact, over all scenes.
    scenes: counts by scene, over all facts.
    splits: counts over all facts of scenes with combinations of the training
      data ('train') and of those with held-out ones ('heldout').
    consistency: 'persistence', 'last_persistence', 'smoothness' and
      'continuity': means of these numbers of `storyworld.score.StoryScore` over
      the stories where they are not nan.
    stories: the first few, as (prompts, frames of each scene).
  """

  facts: Table
  scenes: tuple[Counts, ...]
  splits: Table
  consistency: dict[str, float]
  stories: tuple[tuple[tuple[str, ...], tuple[np.ndarray, ...]], ...]


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
  """
  asked = []
  for index in range(stories):
    rng = np.random.default_rng((setup.seed, STORIES, index))
    story = sample_story(rng, setup.subset, scenes, frames_per_scene, 'all')
    asked.append((story, _story(story, setup, context_frames, draw_seed(rng))))
  scores: list[score_lib.StoryScore] = []
  by_split: dict[str, list[score_lib.ClipScore]] = {'train': [], 'heldout': []}
  kept: list[tuple[tuple[str, ...], tuple[np.ndarray, ...]]] = []
  for batch, padded in in_batches(asked, setup.batch_size):
    parts = list(generate_batch(maker, [story for _, story in padded]))
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
      count_facts(score.scenes[i] for score in scores).total
      for i in range(scenes)
    ),
    splits=Table(
      {name: count_facts(s).total for name, s in by_split.items() if s}
    ),
    consistency={
      name: score_lib.mean(getattr(score, name) for score in scores)
      for name in _CONSISTENCY
    },
    stories=tuple(kept),
  )


def _story(
  story: storyworld_story.Story, setup: Setup, context_frames: int, seed: int
) -> Story:
  scenes = tuple(
    Scene(prompt=s.prompt, frames=s.frames, cut=s.cut or not number, seed=seed)
    for number, s in enumerate(story.scenes)
  )
  return Story(
    scenes=scenes,
    size=setup.size,
    fps=setup.fps,
    context_frames=context_frames,
    sampling=setup.settings,
  )
