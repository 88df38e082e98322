"""How a long film drifts: seams, colours, sharpness, repetition, facts.

The frames are measured as they come. What is kept grows with neither the
length of the film nor its size: at most `MAX_POINTS` averages over time, and
one number for each join.
"""

import collections
import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from phenaki_jax.stories.judge import Judge
from phenaki_jax.stories.story import Story
from phenaki_jax.stories.timeline import Window
from phenaki_jax.types import ImageU8, VideoU8

MAX_POINTS = 512
# Frames before and after a join that its change is compared with.
_AROUND = 4
_THUMBNAIL = 8
# Largest mean difference of thumbnails that look the same, of 255, and the
# least time between them, in seconds.
_SAME, _APART = 2.0, 2.0
_STILL = 0.25 / 255
_TENTH = 0.1
_LUMA = np.array([0.299, 0.587, 0.114])
# Frames that the judge reads at once.
_READ = 9


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
  """Consecutive frames, averaged.

  Attributes:
    frame: number of the first one.
    colour: mean red, green and blue, in [0, 1].
    sharpness: mean absolute Laplacian of the brightness, in [0, 1].
    change: mean absolute difference of consecutive frames, in [0, 1].
  """

  frame: int
  colour: tuple[float, float, float]
  sharpness: float
  change: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class DriftReport:
  """The drift of a film.

  Attributes:
    frames: number of frames.
    points: the film in at most `MAX_POINTS` parts.
    joins: of every join between windows, the frame after it and its seam score:
      the change across the join in changes of the frames around it. A join
      that cannot be seen has a score near 1.
    scenes: numbers of the first frames of scenes, where the prompt changes.
    colour_drift: distance between the mean colours of the first and the last
      tenth of the film, in [0, sqrt(3)].
    sharpness_ratio: sharpness of the last tenth, in that of the first.
    repetition: share of the points that look like one at least two seconds
      before, after something else was seen.
    still: share of the frames that equal the one before.
    facts: by fact, (frame, whether it is right) for every window, where there
      is a judge.
  """

  frames: int
  points: tuple[Point, ...]
  joins: tuple[tuple[int, float], ...]
  scenes: frozenset[int]
  colour_drift: float
  sharpness_ratio: float
  repetition: float
  still: float
  facts: Mapping[str, tuple[tuple[int, bool], ...]]

  def to_json(self) -> dict[str, Any]:
    """Return the numbers as JSON values; the points are in the figure."""
    scores = [score for _, score in self.joins]
    within = [s for frame, s in self.joins if frame not in self.scenes]
    between = [s for frame, s in self.joins if frame in self.scenes]
    worst = sorted(self.joins, key=lambda join: -join[1])[:10]
    answers = [is_right for row in self.facts.values() for _, is_right in row]
    tenths = {
      name: [r for row in self.facts.values() for f, r in row if is_in(f)]
      for name, is_in in (
        ('first_tenth', lambda frame: frame < _TENTH * self.frames),
        ('last_tenth', lambda frame: frame >= (1 - _TENTH) * self.frames),
      )
    }
    return {
      'frames': self.frames,
      'seams': {
        'joins': len(scores),
        'median': _rounded(np.median(scores)) if scores else None,
        'mean_within_scenes': _mean(within),
        'mean_between_scenes': _mean(between),
        'worst': [
          {'frame': frame, 'score': _rounded(score)} for frame, score in worst
        ],
      },
      'colour_drift': _rounded(self.colour_drift),
      'sharpness_ratio': _rounded(self.sharpness_ratio),
      'repetition': _rounded(self.repetition),
      'still': _rounded(self.still),
      'facts': {
        'right': _share(answers),
        **{name: _share(some) for name, some in tenths.items()},
        'by_fact': {
          fact: _share([is_right for _, is_right in row])
          for fact, row in self.facts.items()
        },
      }
      if answers
      else None,
    }


class DriftMeter:
  """Measures the frames of a story while it is generated."""

  def __init__(
    self,
    story: Story,
    windows: Iterable[Window],
    judge: Judge | None = None,
  ) -> None:
    """Set what is measured.

    Args:
      story: a resolved story.
      windows: its windows.
      judge: reads the facts at the end of each window; None for no facts.
    """
    self._story, self._judge = story, judge
    self._stride = math.ceil(max(1, story.num_frames) / MAX_POINTS)
    self._joins: dict[int, float] = {}
    self._ends: dict[int, int] = {}
    self._starts: set[int] = set()
    for window in windows:
      if window.sees_story:
        self._joins[window.start] = math.nan
      if window.number == 0:
        self._starts.add(window.start)
      self._ends[window.start + window.frames - 1] = window.scene
    self._frame = 0
    self._last: np.ndarray | None = None
    self._changes: collections.deque[float] = collections.deque(
      maxlen=2 * _AROUND + 1
    )
    self._sums = np.zeros(6)
    self._points: list[Point] = []
    self._thumbnails: list[np.ndarray] = []
    self._still = 0
    self._scene: collections.deque[ImageU8] = collections.deque(maxlen=_READ)
    self._facts: dict[str, list[tuple[int, bool]]] = {}

  def add(self, scene: int, start: int, frames: VideoU8) -> None:
    """Add the next frames of a scene; `start` is their first one's number."""
    if start == 0:
      self._scene.clear()
    for frame in frames:
      self._measure(frame)
      self._scene.append(frame)
      if self._judge is not None and self._frame in self._ends:
        verdict = self._judge(
          self._story.prompts_until(scene), np.stack(self._scene)
        )
        for fact, is_right in verdict.right.items():
          self._facts.setdefault(fact, []).append((self._frame, is_right))
      self._frame += 1

  def report(self) -> DriftReport:
    """Return the report on all frames so far."""
    self._close_point()
    for later in range(_AROUND):  # Joins near the end have fewer frames after.
      self._changes.append(math.nan)
      self._close_join(self._frame + later - _AROUND)
    tenth = max(1, round(_TENTH * len(self._points)))
    first, last = self._points[:tenth], self._points[-tenth:]
    colours = [np.mean([p.colour for p in part], 0) for part in (first, last)]
    sharp = [
      float(np.mean([p.sharpness for p in part])) for part in (first, last)
    ]
    return DriftReport(
      frames=self._frame,
      points=tuple(self._points),
      joins=tuple(
        (frame, score)
        for frame, score in self._joins.items()
        if not math.isnan(score)
      ),
      scenes=frozenset(self._starts),
      colour_drift=float(np.linalg.norm(colours[1] - colours[0])),
      sharpness_ratio=sharp[1] / max(sharp[0], 1e-9),
      repetition=self._repetition(),
      still=self._still / max(1, self._frame),
      facts={fact: tuple(row) for fact, row in self._facts.items()},
    )

  def _measure(self, frame: ImageU8) -> None:
    pixels = frame.astype(np.float64) / 255
    change = math.nan
    if self._last is not None:
      change = float(np.abs(pixels - self._last).mean())
      self._still += change < _STILL
    self._last = pixels
    self._changes.append(change)
    self._close_join(self._frame - _AROUND)
    if self._frame % self._stride == 0:
      self._close_point()
      self._thumbnails.append(thumbnail(frame))
    values = [*pixels.mean((0, 1)), sharpness(pixels @ _LUMA)]
    self._sums += [1, *values, 0.0 if math.isnan(change) else change]

  def _close_point(self) -> None:
    count = self._sums[0]
    if count:
      mean = (self._sums[1:] / count).tolist()
      self._points.append(
        Point(
          frame=self._frame - int(count),
          colour=(mean[0], mean[1], mean[2]),
          sharpness=mean[3],
          change=mean[4],
        )
      )
      self._sums[:] = 0

  def _close_join(self, frame: int) -> None:
    """Score a join when the frames after it are known."""
    if frame not in self._joins or len(self._changes) <= _AROUND:
      return
    changes = list(self._changes)
    middle = len(changes) - 1 - _AROUND
    around = changes[:middle] + changes[middle + 1 :]
    usual = np.nanmean(around) if not np.isnan(around).all() else math.nan
    # A quarter of a grey level keeps still scenes from infinite scores.
    self._joins[frame] = float(changes[middle] / max(usual, _STILL))

  def _repetition(self) -> float:
    """Return the share of points that come back to what was seen before."""
    count = len(self._thumbnails)
    if not count:
      return 0.0
    lag = math.ceil(_APART * (self._story.fps or 1) / self._stride)
    pictures = np.stack(self._thumbnails).reshape(count, -1).astype(np.float32)
    found = 0
    for index in range(lag, count):
      apart = np.abs(pictures[: index + 1] - pictures[index]).mean(-1)
      same = apart < _SAME
      # The latest look-alike that something else has followed.
      others = np.flatnonzero(~same)
      if len(others):
        earlier = np.flatnonzero(same[: min(others[-1], index - lag + 1)])
        found += bool(len(earlier))
    return found / count


def sharpness(luma: Float[np.ndarray, 'H W']) -> float:
  """Return the mean absolute Laplacian of a frame's brightness."""
  inner = luma[1:-1, 1:-1]
  around = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:]
  return float(np.abs(around - 4 * inner).mean())


def thumbnail(frame: ImageU8) -> np.ndarray:
  """Return a frame averaged to at most 8x8 places, uint8."""
  rows, columns = (
    np.array_split(np.arange(side), min(side, _THUMBNAIL))
    for side in frame.shape[:2]
  )
  return np.array(
    [[frame[r][:, c].mean((0, 1)) for c in columns] for r in rows]
  ).astype(np.uint8)


def _rounded(value: Any) -> float | None:
  return None if math.isnan(value) else round(float(value), 4)


def _mean(scores: Sequence[float]) -> float | None:
  return _rounded(np.mean(scores)) if scores else None


def _share(answers: Sequence[bool]) -> float | None:
  return round(sum(answers) / len(answers), 4) if answers else None
