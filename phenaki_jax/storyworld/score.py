"""Scores of clips and stories: how much of what was asked for is shown."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from phenaki_jax.errors import UserError
from phenaki_jax.storyworld import facts as facts_lib
from phenaki_jax.storyworld import oracle
from phenaki_jax.storyworld import scene as scene_lib
from phenaki_jax.storyworld import story as story_lib
from phenaki_jax.storyworld import subset as subset_lib

# How far the object's step over a join may be from its normal step, as a
# share of the frame: well under a radius, well over what blur can do.
_JUMP = 0.1
_LASTING = ('shape', 'colour', 'size', 'place', 'style')


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipScore:
  """Hold which of the facts asked for a clip shows.

  `right` says so by fact; `mean` is the share of them in [0, 1]; `reading`
  is what was read.
  """

  right: dict[str, bool]
  reading: oracle.Reading

  @property
  def mean(self) -> float:
    """Return the share of the facts that are right."""
    return float(np.mean(list(self.right.values())))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SceneSpan:
  """Say what frames [start, stop) of a clip should show.

  With `cut` the object need not go on from where it was.
  """

  facts: facts_lib.Facts
  start: int
  stop: int
  cut: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class JoinScore:
  """Hold how well two scenes join.

  Attributes:
    step: length of the object's step over the join less its normal step, in
      frames' sides; nan where it was not found on one side.
    smooth: whether that is small.
    kept: by fact that should not change there, whether it is read the same
      on both sides.
  """

  step: float
  smooth: bool
  kept: dict[str, bool]


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoryScore:
  """Hold how well a clip tells a story; every score is in [0, 1].

  Attributes:
    scenes: which facts are right, per scene.
    joins: per join that is not a cut.
    fact_accuracy: share of right facts over all scenes.
    persistence: share right, in later scenes, of the facts (motion apart)
      that have stayed as they were in the first scene; nan if there are none.
    last_persistence: the same of the last scene only.
    smoothness: share of joins over which the object moves on without a jump;
      nan without joins.
    continuity: share of joins over which it does and that also keep every fact
      they should; nan without joins.
  """

  scenes: tuple[ClipScore, ...]
  joins: tuple[JoinScore, ...]
  fact_accuracy: float
  persistence: float
  last_persistence: float
  smoothness: float
  continuity: float


def _asked(facts, subset):
  """Return the facts that can be wrong: seen, and with a choice of values."""
  asked = {}
  for fact, value in facts.as_dict().items():
    if value is None or len(subset.values(fact)) < 2:
      continue
    if fact == 'size' and not facts_lib.size_is_visible(facts.motion):
      continue
    asked[fact] = value
  return asked


def score_clip(
  frames: np.ndarray,
  facts: facts_lib.Facts,
  subset: str | subset_lib.Subset,
  fps: float | int = scene_lib.REFERENCE_FPS,
) -> ClipScore:
  """Say which facts a clip shows.

  Facts of which the subset has only one value are left out, as is motion
  where it is None and a size that the motion hides. Of two objects only the
  main one counts. Arguments are those of `oracle.read_clip`.
  """
  subset = subset_lib.subset_named(subset)
  reading = oracle.read_clip(frames, subset=subset, fps=fps)
  asked = _asked(facts, subset)
  return ClipScore(
    right={fact: reading[fact] == value for fact, value in asked.items()},
    reading=reading,
  )


def spans_of(story: story_lib.Story) -> tuple[SceneSpan, ...]:
  """Return what each stretch of a rendered story should show."""
  return tuple(
    SceneSpan(facts=scene.facts, start=start, stop=stop, cut=scene.cut)
    for scene, (start, stop) in zip(story.scenes, story.spans, strict=True)
  )


def _mean(values):
  values = list(values)
  return float(np.mean(values)) if values else float('nan')


def _normal_steps(facts, fps):
  """Return steps an object may make from one frame to the next."""
  scene = scene_lib.Scene(facts=facts)
  track = scene_lib.track(scene, 0, scene_lib.BOUNCE_PERIOD * 2, fps)
  steps = np.stack([np.diff(track.x), np.diff(track.y)], -1)
  return (steps + 0.5) % 1 - 0.5


def _score_join(previous, scene, before, after, subset, fps):
  """Score the join of two spans with readings `before` and `after` it."""
  step = np.array([after.x[0] - before.x[-1], after.y[0] - before.y[-1]])
  step = (step + 0.5) % 1 - 0.5
  normal = np.concatenate(
    [_normal_steps(previous.facts, fps), _normal_steps(scene.facts, fps)]
  )
  off = float(np.linalg.norm(normal - step, axis=-1).min())
  asked = _asked(scene.facts, subset)
  kept = {
    fact: before[fact] is not None and before[fact] == after[fact]
    for fact in _LASTING
    if fact in asked and asked[fact] == _asked(previous.facts, subset).get(fact)
  }
  return JoinScore(step=off, smooth=off < _JUMP, kept=kept)


def _lasting(spans, subset):
  """Return, per scene, the facts that are still as in the first scene."""
  still = {
    fact: value
    for fact, value in _asked(spans[0].facts, subset).items()
    if fact in _LASTING
  }
  result = []
  for span in spans:
    asked = _asked(span.facts, subset)
    still = {f: v for f, v in still.items() if asked.get(f, v) == v}
    result.append([fact for fact in still if fact in asked])
  return result


def score_story(
  frames: np.ndarray,
  story: story_lib.Story | Sequence[SceneSpan],
  subset: str | subset_lib.Subset,
  fps: float | int = scene_lib.REFERENCE_FPS,
) -> StoryScore:
  """Say how well a clip tells a story.

  Args:
    frames: uint8 [T, H, W, 3].
    story: a story, or what each stretch of the frames should show.
    subset: a name or a `Subset`, restricting what may be read.
    fps: frames per second.

  Raises UserError where a span lies outside the frames.
  """
  subset = subset_lib.subset_named(subset)
  spans = spans_of(story) if isinstance(story, story_lib.Story) else story
  if not spans:
    raise UserError('there are no scenes to score; give at least one span')
  for span in spans:
    if not 0 <= span.start < span.stop <= len(frames):
      raise UserError(
        f'span [{span.start}, {span.stop}) does not lie in the '
        f'{len(frames)} frames; give 0 <= start < stop <= frames'
      )
  scenes = tuple(
    score_clip(frames[span.start : span.stop], span.facts, subset, fps)
    for span in spans
  )
  joins = tuple(
    _score_join(
      spans[i - 1],
      spans[i],
      scenes[i - 1].reading,
      scenes[i].reading,
      subset,
      fps,
    )
    for i in range(1, len(spans))
    if not spans[i].cut
  )
  lasting = _lasting(spans, subset)
  held = [
    [scene.right[fact] for fact in facts]
    for scene, facts in zip(scenes[1:], lasting[1:], strict=True)
  ]
  return StoryScore(
    scenes=scenes,
    joins=joins,
    fact_accuracy=_mean(r for s in scenes for r in s.right.values()),
    persistence=_mean(r for of_scene in held for r in of_scene),
    last_persistence=_mean(held[-1] if held else ()),
    smoothness=_mean(join.smooth for join in joins),
    continuity=_mean(join.smooth and all(join.kept.values()) for join in joins),
  )
