"""Scores of clips and stories: the share of the expected facts they show."""

import dataclasses
import itertools
import math
from collections.abc import Iterable

import numpy as np

from phenaki_jax.storyworld import facts as facts_lib
from phenaki_jax.storyworld import oracle
from phenaki_jax.storyworld import scene as scene_lib
from phenaki_jax.storyworld import story as story_lib
from phenaki_jax.storyworld import subset as subset_lib
from phenaki_jax.types import VideoU8

# Largest deviation of the object's displacement over a join from a normal one,
# as a share of the frame: much less than a radius, much more than blur causes.
_JUMP = 0.1
_PERSISTENT = ('shape', 'colour', 'size', 'place', 'style')


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipScore:
  """Which of the expected facts a clip shows.

  Attributes:
    right: by expected fact, whether it was read correctly.
    reading: what the oracle read.
  """

  right: dict[str, bool]
  reading: oracle.Reading

  @property
  def mean(self) -> float:
    """Return the share of correct facts, in [0, 1]."""
    return float(np.mean(list(self.right.values())))


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoryScore:
  """How well a video shows a story; every score is in [0, 1].

  Attributes:
    scenes: one score per scene.
    fact_accuracy: share of correct facts over all scenes.
    persistence: share of correct facts in later scenes, among the facts other
      than motion that have not changed since the first scene; nan if there are
      none.
    last_persistence: the same for the last scene alone.
    smoothness: share of the joins across which the object moves without a jump;
      nan if all scenes but the first start with a cut.
    continuity: share of the joins that are smooth, and where both scenes are
      read to show the same values of all facts that should not change; nan like
      `smoothness`.
  """

  scenes: tuple[ClipScore, ...]
  fact_accuracy: float
  persistence: float
  last_persistence: float
  smoothness: float
  continuity: float


def score_clip(
  frames: VideoU8,
  facts: facts_lib.Facts,
  subset: str | subset_lib.Subset,
  fps: float | int = scene_lib.REFERENCE_FPS,
) -> ClipScore:
  """Score which of the given facts a clip shows.

  The facts that count are visible (see `Facts.visible`) and have several values
  in the subset. The other arguments are those of `oracle.read_clip`.
  """
  subset = subset_lib.subset_named(subset)
  reading = oracle.read_clip(frames, subset=subset, fps=fps)
  right = {
    fact: reading[fact] == value
    for fact, value in facts.visible().items()
    if len(subset.values(fact)) > 1
  }
  return ClipScore(right=right, reading=reading)


def mean(values: Iterable[float | bool]) -> float:
  """Return the mean of the values that are not nan; nan if there are none."""
  known = [value for value in values if not math.isnan(value)]
  return float(np.mean(known)) if known else math.nan


def _displacements(facts, fps):
  """Return normal displacements of an object between consecutive frames."""
  scene = scene_lib.Scene(facts=facts)
  track = scene_lib.track(scene, 0, scene_lib.BOUNCE_PERIOD * 2, fps)
  return scene_lib.wrap(np.stack([np.diff(track.x), np.diff(track.y)], -1))


def _score_join(before, after, fps):
  """Return whether a join is smooth, and whether it keeps unchanged facts.

  `before` and `after` are pairs of a `StoryScene` and its `ClipScore`.
  """
  (old_scene, old), (scene, new) = before, after
  end, start = old.reading, new.reading
  moved = np.array([start.x[0] - end.x[-1], start.y[0] - end.y[-1]])
  normal = np.concatenate(
    [_displacements(each.facts, fps) for each in (old_scene, scene)]
  )
  # It is nan where the object was not found, which is not smooth.
  deviation = np.linalg.norm(normal - scene_lib.wrap(moved), axis=-1).min()
  kept = all(
    end[fact] is not None and end[fact] == start[fact]
    for fact in _PERSISTENT
    if fact in old.right and fact in new.right
    if getattr(old_scene.facts, fact) == getattr(scene.facts, fact)
  )
  return bool(deviation < _JUMP), kept


def _score_persistence(pairs):
  """Return for each later scene whether each still unchanged fact is right.

  `pairs` are the `StoryScene` and the `ClipScore` of each scene.
  """
  first, score = pairs[0]
  unchanged = [fact for fact in _PERSISTENT if fact in score.right]
  persisted = []
  for scene, score in pairs[1:]:
    for fact in set(unchanged) & set(score.right):
      if getattr(scene.facts, fact) != getattr(first.facts, fact):
        unchanged.remove(fact)
    persisted.append([score.right[f] for f in unchanged if f in score.right])
  return persisted


def score_story(
  frames: VideoU8,
  story: story_lib.Story,
  subset: str | subset_lib.Subset,
  fps: float | int = scene_lib.REFERENCE_FPS,
) -> StoryScore:
  """Score how well a video shows a story.

  Args:
    frames: the video, with the frames of the scenes one after another.
    story: what it should show.
    subset: a name or a `Subset`; restricts the values that can be read.
    fps: frames per second.

  Raises:
    ValueError: the video is shorter than the story.
  """
  subset = subset_lib.subset_named(subset)
  if len(frames) < story.frames:
    raise ValueError(f'{len(frames)} frames for a story of {story.frames}')
  scenes = tuple(
    score_clip(frames[start:stop], scene.facts, subset, fps)
    for scene, (start, stop) in zip(story.scenes, story.spans, strict=True)
  )
  pairs = list(zip(story.scenes, scenes, strict=True))
  joins = [
    _score_join(before, after, fps)
    for before, after in itertools.pairwise(pairs)
    if not after[0].cut
  ]
  persisted = _score_persistence(pairs)
  return StoryScore(
    scenes=scenes,
    fact_accuracy=mean(r for s in scenes for r in s.right.values()),
    persistence=mean(r for of_scene in persisted for r in of_scene),
    last_persistence=mean(persisted[-1] if persisted else ()),
    smoothness=mean(smooth for smooth, _ in joins),
    continuity=mean(smooth and kept for smooth, kept in joins),
  )
