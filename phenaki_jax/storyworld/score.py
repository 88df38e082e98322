"""Scores of clips and stories: the share of the expected facts they show."""

import dataclasses
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
class JoinScore:
  """How well two scenes join.

  Attributes:
    smooth: whether the object moves across the join without a jump.
    kept: by fact that should not change there, whether both scenes are read to
      show the same value.
  """

  smooth: bool
  kept: dict[str, bool]


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoryScore:
  """How well a video shows a story; every score is in [0, 1].

  Attributes:
    scenes: one score per scene.
    joins: one score per join that is not a cut.
    fact_accuracy: share of correct facts over all scenes.
    persistence: share of correct facts in later scenes, among the facts other
      than motion that have not changed since the first scene; nan if there are
      none.
    last_persistence: the same for the last scene alone.
    smoothness: share of smooth joins; nan without joins.
    continuity: share of joins that are smooth and keep all facts that should
      not change; nan without joins.
  """

  scenes: tuple[ClipScore, ...]
  joins: tuple[JoinScore, ...]
  fact_accuracy: float
  persistence: float
  last_persistence: float
  smoothness: float
  continuity: float


def _expected(facts, subset):
  """Return the visible facts with more than one possible value."""
  expected = {}
  for fact, value in facts.as_dict().items():
    if value is None or len(subset.values(fact)) < 2:
      continue
    if fact == 'size' and not facts_lib.size_is_visible(facts.motion):
      continue
    expected[fact] = value
  return expected


def score_clip(
  frames: VideoU8,
  facts: facts_lib.Facts,
  subset: str | subset_lib.Subset,
  fps: float | int = scene_lib.REFERENCE_FPS,
) -> ClipScore:
  """Score which of the given facts a clip shows.

  Facts with a single value in the subset do not count, nor does a motion of
  None, a size that the motion hides or the second object. The other arguments
  are those of `oracle.read_clip`.
  """
  subset = subset_lib.subset_named(subset)
  reading = oracle.read_clip(frames, subset=subset, fps=fps)
  expected = _expected(facts, subset)
  return ClipScore(
    right={fact: reading[fact] == value for fact, value in expected.items()},
    reading=reading,
  )


def mean(values: Iterable[float | bool]) -> float:
  """Return the mean of the values that are not nan; nan if there are none."""
  known = [value for value in values if not math.isnan(value)]
  return float(np.mean(known)) if known else math.nan


def _displacements(facts, fps):
  """Return normal displacements of an object between consecutive frames."""
  scene = scene_lib.Scene(facts=facts)
  track = scene_lib.track(scene, 0, scene_lib.BOUNCE_PERIOD * 2, fps)
  return scene_lib.wrap(np.stack([np.diff(track.x), np.diff(track.y)], -1))


def _score_join(previous, facts, before, after, subset, fps):
  """Score the join of two scenes from their facts and readings."""
  moved = np.array([after.x[0] - before.x[-1], after.y[0] - before.y[-1]])
  normal = np.concatenate(
    [_displacements(previous, fps), _displacements(facts, fps)]
  )
  # It is nan where the object was not found, which is not smooth.
  deviation = np.linalg.norm(normal - scene_lib.wrap(moved), axis=-1).min()
  expected = _expected(facts, subset)
  old = _expected(previous, subset)
  kept = {
    fact: before[fact] is not None and before[fact] == after[fact]
    for fact in _PERSISTENT
    if fact in expected and expected[fact] == old.get(fact)
  }
  return JoinScore(smooth=bool(deviation < _JUMP), kept=kept)


def _unchanged(scenes, subset):
  """Return, for each scene, the facts that are still as in the first scene."""
  first = _expected(scenes[0].facts, subset)
  unchanged = {f: v for f, v in first.items() if f in _PERSISTENT}
  result = []
  for scene in scenes:
    expected = _expected(scene.facts, subset)
    unchanged = {f: v for f, v in unchanged.items() if expected.get(f, v) == v}
    result.append([fact for fact in unchanged if fact in expected])
  return result


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
  joins = tuple(
    _score_join(
      story.scenes[i - 1].facts,
      story.scenes[i].facts,
      scenes[i - 1].reading,
      scenes[i].reading,
      subset,
      fps,
    )
    for i in range(1, len(scenes))
    if not story.scenes[i].cut
  )
  unchanged = _unchanged(story.scenes, subset)
  persisted = [
    [scene.right[fact] for fact in facts]
    for scene, facts in zip(scenes[1:], unchanged[1:], strict=True)
  ]
  return StoryScore(
    scenes=scenes,
    joins=joins,
    fact_accuracy=mean(r for s in scenes for r in s.right.values()),
    persistence=mean(r for of_scene in persisted for r in of_scene),
    last_persistence=mean(persisted[-1] if persisted else ()),
    smoothness=mean(join.smooth for join in joins),
    continuity=mean(join.smooth and all(join.kept.values()) for join in joins),
  )
