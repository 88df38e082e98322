"""Scores of clips and stories: the share of the expected facts they show."""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import UInt8

from phenaki_jax.evaluation.world import Asked, Reading, World
from phenaki_jax.types import VideoU8

# Largest deviation of the displacement over a join from a normal one, as a
# share of the frame: much less than an object, much more than blur causes.
_JUMP = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipScore:
  """Which of the expected facts a clip shows.

  Attributes:
    right: by expected fact, whether it was read correctly.
    reading: what was read.
  """

  right: dict[str, bool]
  reading: Reading

  @property
  def mean(self) -> float:
    """Return the share of correct facts, in [0, 1]."""
    return float(np.mean(list(self.right.values())))


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoryScore:
  """How well a video shows a story; every score is in [0, 1].

  Attributes:
    scenes: one score per scene.
    persistence: share of correct facts in later scenes, among the persistent
      facts that have not changed since the first scene; nan if there are none.
    last_persistence: the same for the last scene alone.
    smoothness: share of the joins across which the object or character moves
      without a jump; nan for a single scene.
    continuity: share of the joins that are smooth, and where both scenes are
      read to show the same values of all facts that should not change; nan like
      `smoothness`.
  """

  scenes: tuple[ClipScore, ...]
  persistence: float
  last_persistence: float
  smoothness: float
  continuity: float


def score_clip(frames: VideoU8, asked: Asked, world: World) -> ClipScore:
  """Score which of the facts that were asked for a clip shows."""
  reading = world.read(frames)
  right = {
    fact: reading.facts[fact].value == value
    for fact, value in asked.facts.items()
  }
  return ClipScore(right=right, reading=reading)


def is_kept(before: Reading, after: Reading, fact: str) -> bool:
  """Return whether two scenes are read to show the same value of a fact."""
  value = before.facts[fact].value
  return value is not None and value == after.facts[fact].value


def mean(values: Iterable[float | bool]) -> float:
  """Return the mean of the values that are not nan; nan if there are none."""
  known = [value for value in values if not math.isnan(value)]
  return float(np.mean(known)) if known else math.nan


def score_story(
  scenes: Sequence[UInt8[np.ndarray, '_ H W 3']],
  story: Sequence[Asked],
  world: World,
) -> StoryScore:
  """Score how well a video shows a story without cuts.

  Args:
    scenes: the frames of each scene.
    story: what each scene should show.
    world: reads the frames.
  """
  scores = tuple(
    score_clip(frames, asked, world)
    for frames, asked in zip(scenes, story, strict=True)
  )
  pairs = list(zip(story, scores, strict=True))
  joins = [_score_join(*both, world) for both in itertools.pairwise(pairs)]
  persisted = _score_persistence(pairs, world)
  return StoryScore(
    scenes=scores,
    persistence=mean(r for of_scene in persisted for r in of_scene),
    last_persistence=mean(persisted[-1] if persisted else ()),
    smoothness=mean(smooth for smooth, _ in joins),
    continuity=mean(smooth and kept for smooth, kept in joins),
  )


def _score_join(before, after, world):
  """Return whether a join is smooth, and whether it keeps unchanged facts.

  `before` and `after` are pairs of what was asked and a `ClipScore`.
  """
  (old, end), (new, start) = (
    (asked.facts, score.reading) for asked, score in (before, after)
  )
  moved = np.array([start.x[0] - end.x[-1], start.y[0] - end.y[-1]])
  kept = all(
    is_kept(end, start, fact)
    for fact in world.persistent
    if fact in old and old[fact] == new.get(fact)
  )
  # NaN, where no object was found, compares as False: the join is not smooth.
  return bool(world.jump(moved, old, new) < _JUMP), kept


def _score_persistence(pairs, world):
  """Return for each later scene whether each still unchanged fact is right.

  `pairs` are what was asked and the `ClipScore` of each scene.
  """
  first = pairs[0][0].facts
  unchanged = [fact for fact in world.persistent if fact in first]
  persisted = []
  for asked, score in pairs[1:]:
    for fact in set(unchanged) & set(asked.facts):
      if asked.facts[fact] != first[fact]:
        unchanged.remove(fact)
    persisted.append([score.right[f] for f in unchanged if f in score.right])
  return persisted
