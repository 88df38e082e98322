"""Accuracy of a model on StoryWorld, as read by the oracle.

Two reports measure whether clips show the facts of their prompts, and whether
concepts that only training images show appear in clips. `storyworld_stories`
has that of stories. No pretrained network is needed.
"""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from phenaki_jax.errors import UserError
from phenaki_jax.evaluation.counts import Counts, total
from phenaki_jax.sampling.sampler import SamplingSettings
from phenaki_jax.stories.generate import ClipMaker
from phenaki_jax.storyworld import caption, sample_facts
from phenaki_jax.storyworld import facts as facts_lib
from phenaki_jax.storyworld import score as score_lib
from phenaki_jax.storyworld.subset import Subset

# Part of the seeds, so that the reports use separate random streams.
CLIPS, STORIES, IMAGE_ONLY = 11, 12, 13


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setup:
  """Settings of an evaluation.

  Attributes:
    subset: the part of StoryWorld.
    size: height and width in pixels.
    fps: frames per second.
    settings: settings of the sampler.
    seed: seed of prompts and samples.
    batch_size: maximum number of clips generated at once, at least 1; the
      results do not depend on it.
  """

  subset: Subset
  size: tuple[int, int]
  fps: float
  settings: SamplingSettings
  seed: int = 0
  batch_size: int = 16

  def __post_init__(self) -> None:
    """Validate the batch size."""
    check_count('batch_size', self.batch_size)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
  """A generated clip.

  Attributes:
    prompt: its prompt.
    read: what the oracle read, in words.
    frames: uint8 [T, H, W, 3].
    score: share of correct facts, and the mean confidence of the oracle, which
      breaks ties.
  """

  prompt: str
  read: str
  frames: np.ndarray
  score: tuple[float, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipReport:
  """How well clips show the facts of their prompts.

  Attributes:
    facts: counts by fact.
    mistakes: number of occurrences of each mistake, such as 'colour: red read
      as white', the most frequent first.
    best, worst, random: examples.
  """

  facts: dict[str, Counts]
  mistakes: dict[str, int]
  best: tuple[Sample, ...]
  worst: tuple[Sample, ...]
  random: tuple[Sample, ...]

  @property
  def total(self) -> Counts:
    """Return the counts over all facts."""
    return total(self.facts.values())


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageOnlyReport:
  """Whether concepts that only images show appear in clips.

  Attributes:
    values: counts by concept, such as 'colour pink'.
    others: counts of all other facts of the same clips.
    samples: the first clip of each concept.
  """

  values: dict[str, Counts]
  others: Counts
  samples: tuple[Sample, ...]

  @property
  def total(self) -> Counts:
    """Return the counts over all concepts."""
    return total(self.values.values())


def report_clips(
  maker: ClipMaker,
  setup: Setup,
  *,
  prompts: int,
  split: str = 'heldout',
  shown: int = 4,
  on_done: Callable[[int], object] = lambda count: None,
) -> ClipReport:
  """Generate a clip for each of many prompts and read its facts.

  Args:
    maker: the model.
    setup: settings of the evaluation.
    prompts: number of prompts, at least 1.
    split: 'heldout' (combinations never seen in training), 'train' or 'all'.
    shown: number of examples of each kind.
    on_done: called with the number of clips finished since the last call.

  Raises:
    UserError: `prompts` is below 1.
  """
  check_count('prompts', prompts)
  asked = []
  for index in range(prompts):
    rng = np.random.default_rng((setup.seed, CLIPS, index))
    facts = sample_facts(rng, setup.subset, split)
    asked.append((facts, caption(facts, rng, setup.subset), draw_seed(rng)))
  scores: list[score_lib.ClipScore] = []
  mistakes: collections.Counter[str] = collections.Counter()
  best: list[Sample] = []
  worst: list[Sample] = []
  random: list[Sample] = []
  for (facts, prompt, _), frames in _clips(maker, setup, asked, on_done):
    score = score_lib.score_clip(frames, facts, setup.subset, setup.fps)
    scores.append(score)
    for fact, is_right in score.right.items():
      if not is_right:
        read = score.reading[fact] or 'nothing'
        mistakes[f'{fact}: {getattr(facts, fact)} read as {read}'] += 1
    sample = _sample(prompt, frames, score)
    random = [*random, sample][:shown]
    best = sorted([*best, sample], key=lambda s: s.score)[::-1][:shown]
    worst = sorted([*worst, sample], key=lambda s: s.score)[:shown]
  return ClipReport(
    facts=count_facts(scores),
    mistakes=dict(mistakes.most_common()),
    best=tuple(best),
    worst=tuple(worst),
    random=tuple(random),
  )


def report_image_only(
  maker: ClipMaker,
  setup: Setup,
  *,
  prompts: int,
  on_done: Callable[[int], object] = lambda count: None,
) -> ImageOnlyReport:
  """Generate clips of concepts that only training images show.

  Args:
    maker: the model.
    setup: settings of the evaluation.
    prompts: number of prompts for each concept, at least 1.
    on_done: called with the number of clips finished since the last call.

  Raises:
    UserError: `prompts` is below 1, or the subset has no such concept.
  """
  check_count('prompts', prompts)
  asked = []
  for fact, value in image_only_values(setup.subset):
    for index in range(prompts):
      rng = np.random.default_rng((setup.seed, IMAGE_ONLY, index))
      facts = _with(rng, setup.subset, fact, value)
      prompt = caption(facts, rng, setup.subset)
      asked.append(((fact, value, facts), prompt, draw_seed(rng)))
  scores = collections.defaultdict(list)
  samples: dict[tuple, Sample] = {}
  for (about, prompt, _), frames in _clips(maker, setup, asked, on_done):
    *concept, facts = about
    score = score_lib.score_clip(frames, facts, setup.subset, setup.fps)
    scores[tuple(concept)].append(score)
    samples.setdefault(tuple(concept), _sample(prompt, frames, score))
  values, others = {}, Counts()
  for (fact, value), of_concept in scores.items():
    counts = count_facts(of_concept)
    values[f'{fact} {value}'] = counts.pop(fact)
    others += total(counts.values())
  return ImageOnlyReport(
    values=values, others=others, samples=tuple(samples.values())
  )


def image_only_values(subset: Subset) -> list[tuple[str, str]]:
  """Return each (fact, value) that a subset shows only in images.

  Raises:
    UserError: there is none.
  """
  found = [
    (fact, value)
    for fact in facts_lib.FACT_NAMES
    for value in subset.image_values(fact)
  ]
  if not found:
    raise UserError(
      f'subset {subset.name!r} has no image-only concepts; use another subset'
    )
  return found


def _with(
  rng: np.random.Generator, subset: Subset, fact: str, value: str
) -> facts_lib.Facts:
  """Draw the facts of a training clip and replace one of them."""
  while True:
    facts = sample_facts(rng, subset, 'train').replace(second=None)
    facts = facts.replace(**{fact: value})
    if facts_lib.is_visible(facts):
      return facts


def _clips(
  maker: ClipMaker,
  setup: Setup,
  asked: Sequence[tuple],
  on_done: Callable[[int], object],
) -> Iterator[tuple[tuple, np.ndarray]]:
  """Generate a clip for each (anything, prompt, seed)."""
  for batch, row in in_batches(asked, setup.batch_size):
    clips = maker.clips(
      [prompt for _, prompt, _ in row],
      size=setup.size,
      seeds=[seed for _, _, seed in row],
      settings=setup.settings,
    )
    yield from zip(batch, clips[: len(batch)], strict=True)
    on_done(len(batch))


def in_batches(items: Sequence, most: int) -> Iterator[tuple[Sequence, list]]:
  """Split items into the fewest batches of at most `most` items.

  Yields:
    Each batch, and the same batch padded with repeated items to a size common
    to all batches, so that the sampler compiles once.
  """
  count = -(-len(items) // most)
  size = -(-len(items) // count)
  for start in range(0, len(items), size):
    batch = items[start : start + size]
    yield batch, [batch[i % len(batch)] for i in range(size)]


def count_facts(scores: Iterable[score_lib.ClipScore]) -> dict[str, Counts]:
  """Count the answers of clips by fact, in the order of reports."""
  counts = {fact: Counts() for fact in facts_lib.FACT_NAMES}
  for score in scores:
    for fact, is_right in score.right.items():
      unsure = score.reading[fact] is None
      counts[fact] += Counts(asked=1, right=int(is_right), unsure=int(unsure))
  return {fact: found for fact, found in counts.items() if found.asked}


def _sample(
  prompt: str, frames: np.ndarray, score: score_lib.ClipScore
) -> Sample:
  reading = score.reading
  confidences = [reading.confidences[fact] for fact in score.right]
  return Sample(
    prompt=prompt,
    read=', '.join(reading[fact] or f'{fact}?' for fact in score.right),
    frames=frames,
    score=(score.mean, float(np.mean(confidences))),
  )


def draw_seed(rng: np.random.Generator) -> int:
  """Draw a seed for the sampler."""
  return int(rng.integers(2**32))


def check_count(name: str, count: int) -> None:
  """Raise UserError if a count is below 1."""
  if count < 1:
    raise UserError(f'{name} is {count}; it must be at least 1')
