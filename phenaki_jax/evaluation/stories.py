"""Accuracy and consistency of a model on stories."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from phenaki_jax.evaluation.clips import (
  STORIES,
  Setup,
  count_facts,
  draw_seed,
  in_batches,
)
from phenaki_jax.evaluation.counts import Counts, Table
from phenaki_jax.evaluation.score import (
  ClipScore,
  StoryScore,
  mean,
  score_story,
)
from phenaki_jax.evaluation.world import Asked
from phenaki_jax.stories.generate import ClipMaker, generate_batch
from phenaki_jax.stories.story import Scene, Story

_CONSISTENCY = ('persistence', 'last_persistence', 'smoothness', 'continuity')


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoryReport:
  """How well videos show their stories.

  Attributes:
    facts: counts by fact, over all scenes.
    last: counts by fact, in the last scenes.
    scenes: counts by scene, over all facts.
    splits: counts over all facts of scenes with combinations of the training
      data ('train') and of those with held-out ones ('heldout').
    consistency: 'persistence', 'last_persistence', 'smoothness' and
      'continuity': means of these numbers of `score.StoryScore` over the
      stories where they are not nan.
    stories: the first few, as (prompts, frames of each scene).
  """

  facts: Table
  last: Table
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
  """Generate stories in which few facts change from scene to scene.

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
  world = setup.world
  lengths = [frames_per_scene] * scenes
  asked = []
  for index in range(stories):
    rng = np.random.default_rng((setup.seed, STORIES, index))
    drawn = world.draw_story(rng, scenes)
    seed = draw_seed(rng)
    asked.append(
      (drawn, make_story(drawn, lengths, setup, context_frames, seed))
    )
  scores: list[StoryScore] = []
  by_split: dict[str, list[ClipScore]] = {'train': [], 'heldout': []}
  kept: list[tuple[tuple[str, ...], tuple[np.ndarray, ...]]] = []
  for batch, padded in in_batches(asked, setup.batch_size):
    parts = film_scenes(maker, [story for _, story in padded])
    for (drawn, _), pieces in zip(batch, parts, strict=False):
      score = score_story(pieces, drawn, world)
      scores.append(score)
      for one, of_scene in zip(drawn, score.scenes, strict=True):
        by_split['heldout' if one.held_out else 'train'].append(of_scene)
      if len(kept) < shown:
        kept.append((tuple(one.prompt for one in drawn), pieces))
    on_done(len(batch))
  return StoryReport(
    facts=count_facts((s for score in scores for s in score.scenes), world),
    last=count_facts((score.scenes[-1] for score in scores), world),
    scenes=tuple(
      count_facts((score.scenes[i] for score in scores), world).total
      for i in range(scenes)
    ),
    splits=Table(
      {name: count_facts(s, world).total for name, s in by_split.items() if s}
    ),
    consistency={
      name: mean(getattr(score, name) for score in scores)
      for name in _CONSISTENCY
    },
    stories=tuple(kept),
  )


def make_story(
  asked: Sequence[Asked],
  lengths: Sequence[int],
  setup: Setup,
  context_frames: int,
  seed: int,
) -> Story:
  """Return a resolved story of the prompts; only the first scene is a cut."""
  scenes = tuple(
    Scene(prompt=one.prompt, frames=frames, cut=not number, seed=seed)
    for number, (one, frames) in enumerate(zip(asked, lengths, strict=True))
  )
  return Story(
    scenes=scenes,
    size=setup.size,
    fps=setup.fps,
    context_frames=context_frames,
    sampling=setup.settings,
  )


def film_scenes(
  maker: ClipMaker, stories: Sequence[Story], first: np.ndarray | None = None
) -> list[tuple[np.ndarray, ...]]:
  """Generate stories of equal lengths; return the frames of each scene.

  Args:
    maker: the model.
    stories: resolved stories.
    first: given frames of the first scenes, uint8 [B, T, H, W, 3].
  """
  parts: list[list[np.ndarray]] = [[] for _ in stories[0].scenes]
  for chunk in generate_batch(maker, stories, first=first):
    parts[chunk.scene].append(chunk.frames)
  scenes = [np.concatenate(of_scene, axis=1) for of_scene in parts]
  return [tuple(s[i] for s in scenes) for i in range(len(stories))]
