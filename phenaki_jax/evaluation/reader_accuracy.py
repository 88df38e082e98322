"""How often the reader is right on held-out combinations, also after blur and
H.264."""

import dataclasses
import math
import pathlib
import random
import tempfile
from collections.abc import Iterator, Sequence

import av
import numpy as np

from phenaki_jax.lpc import degradation, random_story, renderer
from phenaki_jax.lpc.facts import FACT_NAMES, Facts
from phenaki_jax.lpc.sheets import Sheets
from phenaki_jax.media.mp4 import write_mp4
from phenaki_jax.reader.reader import Reader
from phenaki_jax.types import VideoU8

KINDS = ('clips', 'images')
CONDITIONS = ('clean', 'blur', 'H.264', 'blur and H.264')
_SIZE = 128  # side of the rendered frames, in pixels
_BLUR = 0.8  # standard deviation in pixels of a frame of 64
_SURE = 0.98  # share of the sure readings that must be right
_LEGEND = (
  'A row is what is read: held-out clips or images as they are rendered '
  '(clean), blurred, or after H.264. The first table has the share of all '
  'readings that are right, sure or not. The reader is sure of a value whose '
  'probability reaches the threshold of the fact, which is the lowest one at '
  f'which {_SURE} of the readings of other held-out examples were right; the '
  'second table has the share of sure readings, and how many of these are '
  'right.'
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FactScore:
  """Counts of readings of one fact.

  Attributes:
    asked: all readings.
    right: the correct ones, sure or not.
    sure: the sure ones.
    sure_right: those that are both.
  """

  asked: int = 0
  right: int = 0
  sure: int = 0
  sure_right: int = 0

  def __add__(self, other: 'FactScore') -> 'FactScore':
    """Return the sums of two scores."""
    names = [field.name for field in dataclasses.fields(self)]
    return FactScore(
      **{name: getattr(self, name) + getattr(other, name) for name in names}
    )

  @property
  def accuracy(self) -> float:
    """Return the share of correct readings in [0, 1]; nan without any."""
    return self.right / self.asked if self.asked else math.nan

  @property
  def sure_share(self) -> float:
    """Return the share of sure readings in [0, 1]; nan without any."""
    return self.sure / self.asked if self.asked else math.nan

  @property
  def sure_accuracy(self) -> float:
    """Return the share of correct ones among them; nan without any."""
    return self.sure_right / self.sure if self.sure else math.nan


Scores = dict[tuple[str, str], dict[str, FactScore]]
"""Scores of each fact, by (kind, condition)."""


def examples(
  kind: str, number: int, sheets: Sheets, *, seed: int, size: int
) -> Iterator[tuple[VideoU8, Facts]]:
  """Yield held-out clips or images (of one frame) with their facts.

  Args:
    kind: 'clips' or 'images'.
    number: how many to yield; the first do not depend on it.
    sheets: the drawings.
    seed: of the examples.
    size: side to which the frames are reduced, in pixels.
  """
  rng = random.Random(f'{seed} reader {kind}')
  for _ in range(number):
    if kind == 'clips':
      story = random_story.sample_clip(rng, size=_SIZE, held_out=True)
      frames = renderer.render_story(story, sheets, size=_SIZE)
    else:
      story = random_story.sample_image(rng, size=_SIZE, held_out=True)
      frames = renderer.render_image(story, sheets, size=_SIZE)[None]
    yield degradation.resize(frames, size), story.scenes[0].facts


def apply_condition(frames: VideoU8, condition: str) -> VideoU8:
  """Apply one of `CONDITIONS` to frames."""
  if 'blur' in condition:
    frames = degradation.blur(frames, _BLUR * frames.shape[1] / 64)
  return through_h264(frames) if 'H.264' in condition else frames


def through_h264(frames: VideoU8) -> VideoU8:
  """Write frames as MP4 at their own size, and read them again."""
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / 'clip.mp4'
    write_mp4(
      path,
      frames,
      fps=renderer.FPS,
      provenance={'notice': 'rendered'},
      min_height=1,
    )
    with av.open(str(path)) as container:
      decoded = [
        f.to_ndarray(format='rgb24') for f in container.decode(video=0)
      ]
  return np.stack(decoded)


def score(
  reader: Reader, sheets: Sheets, *, number: int, seed: int, size: int
) -> Scores:
  """Read held-out examples of each kind under each condition.

  Args:
    reader: what is measured.
    sheets: the drawings.
    number: examples of each kind.
    seed: of the examples.
    size: side of the frames, in pixels.
  """
  scores: Scores = {
    (kind, condition): dict.fromkeys(FACT_NAMES, FactScore())
    for kind in KINDS
    for condition in CONDITIONS
  }
  for kind in KINDS:
    drawn = examples(kind, number, sheets, seed=seed, size=size)
    for frames, facts in drawn:
      for condition in CONDITIONS:
        found = scores[kind, condition]
        reading = reader.read(apply_condition(frames, condition))
        for fact, value in facts.as_dict().items():
          read = reading[fact]
          right = read.value == value
          found[fact] += FactScore(
            asked=1,
            right=int(right),
            sure=int(read.is_sure),
            sure_right=int(read.is_sure and right),
          )
  return scores


def choose_thresholds(
  reader: Reader, sheets: Sheets, *, number: int, seed: int, size: int
) -> dict[str, float]:
  """Return, for each fact, the least probability of a sure reading.

  It is the lowest one at which 0.98 of the sure readings are right. The
  examples are those of `score` with another seed, each under one condition.
  """
  found: dict[str, list[tuple[float, bool]]] = {f: [] for f in FACT_NAMES}
  for kind in KINDS:
    drawn = examples(kind, number, sheets, seed=seed, size=size)
    for index, (frames, facts) in enumerate(drawn):
      condition = CONDITIONS[index % len(CONDITIONS)]
      reading = reader.read(apply_condition(frames, condition))
      for fact, value in facts.as_dict().items():
        read = reading[fact]
        found[fact].append((read.confidence, read.value == value))
  return {fact: lowest_threshold(readings) for fact, readings in found.items()}


def lowest_threshold(readings: Sequence[tuple[float, bool]]) -> float:
  """Return the lowest threshold at which 0.98 of the sure readings are right.

  Args:
    readings: (probability, whether it is right) of each reading.

  Returns:
    A threshold in [0, 1]; above 1 if no threshold suffices.
  """
  ordered = sorted(readings, reverse=True)
  probabilities = np.array([probability for probability, _ in ordered])
  right = np.cumsum([is_right for _, is_right in ordered])
  share = right / np.arange(1, len(ordered) + 1)
  # Readings of equal probability are either all sure or all unsure.
  is_last = np.append(probabilities[1:] != probabilities[:-1], True)
  good = np.flatnonzero((share >= _SURE) & is_last)
  return float(probabilities[good[-1]]) if good.size else 1.01


def to_markdown(scores: Scores) -> str:
  """Return the accuracies and the sure readings as tables, with a legend."""
  names = ' | '.join(FACT_NAMES)
  rule = '| --- |' + ' --- |' * len(FACT_NAMES)
  lines = [f'| right | {names} |', rule]
  for (kind, condition), facts in scores.items():
    row = [f'{one.accuracy:.3f}' for one in facts.values()]
    lines.append(f'| {kind}, {condition} | ' + ' | '.join(row) + ' |')
  sure = [f'| sure: share, right | {names} |', rule]
  sentences = []
  for kind in KINDS:
    totals = [
      sum((scores[kind, c][fact] for c in CONDITIONS), FactScore())
      for fact in FACT_NAMES
    ]
    row = [f'{one.sure_share:.2f}, {one.sure_accuracy:.3f}' for one in totals]
    sure.append(f'| {kind}, all conditions | ' + ' | '.join(row) + ' |')
    total = sum(totals, FactScore())
    sentences.append(
      f'it is sure of {total.sure_share:.2f} of the facts of {kind}, and '
      f'{total.sure_accuracy:.3f} of these readings are right'
    )
  summary = f'In all, {"; ".join(sentences)}.'
  return '\n'.join([*lines, '', *sure, '', _LEGEND, '', summary])
