"""What a model knows of StoryWorld, as the oracle reads it.

Do clips show the facts of their prompts, and do concepts that only images
taught appear in clips? (`storyworld_stories` asks for stories.) The numbers
need no downloaded network.
"""

import collections
import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from phenaki_jax.errors import UserError
from phenaki_jax.evaluation.tally import Tally, total
from phenaki_jax.sampling.sampler import SamplingSettings
from phenaki_jax.stories.generate import ClipMaker
from phenaki_jax.storyworld import caption, sample_facts
from phenaki_jax.storyworld import facts as facts_lib
from phenaki_jax.storyworld import score as score_lib
from phenaki_jax.storyworld.subset import Subset

CLIPS, STORIES, IMAGE_ONLY = 11, 12, 13  # Streams of chance, apart.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setup:
  """Say how a model is asked; part of every number.

  Attributes:
    subset: the part of StoryWorld.
    size: height and width in pixels.
    fps: frames per second.
    settings: how clips are drawn.
    seed: of prompts and samples.
    batch_size: clips made at once, at most; it changes no number.
  """

  subset: Subset
  size: tuple[int, int]
  fps: float
  settings: SamplingSettings
  seed: int = 0
  batch_size: int = 16

  def __post_init__(self) -> None:
    """Refuse an empty batch."""
    if self.batch_size < 1:
      raise UserError(f'batch_size is {self.batch_size}; give 1 or more')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
  """Hold one clip with what was asked and what was read.

  Attributes:
    prompt: what was asked for.
    read: what the oracle read, in words.
    frames: uint8 [T, H, W, 3].
    score: share of right facts; ties are broken by the oracle's confidence.
  """

  prompt: str
  read: str
  frames: np.ndarray
  score: tuple[float, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipReport:
  """Hold how well clips show their prompts.

  Attributes:
    facts: counts by fact.
    mistakes: how often which value was read in place of which, such as
      'colour: red read as white'.
    best, worst, random: samples to look at.
  """

  facts: dict[str, Tally]
  mistakes: dict[str, int]
  best: tuple[Sample, ...]
  worst: tuple[Sample, ...]
  random: tuple[Sample, ...]

  @property
  def total(self) -> Tally:
    """Return the counts over all facts."""
    return total(self.facts.values())


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageOnlyReport:
  """Hold whether concepts of images appear in clips.

  Attributes:
    values: counts by concept, such as 'colour pink'.
    others: counts of all other facts of the same clips.
    samples: the first clip of each concept.
  """

  values: dict[str, Tally]
  others: Tally
  samples: tuple[Sample, ...]

  @property
  def total(self) -> Tally:
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
  """Make a clip for each of many prompts and read them.

  Args:
    maker: the model.
    setup: how it is asked.
    prompts: how many, 1 or more.
    split: 'heldout' (combinations never seen in training), 'train' or 'all'.
    shown: how many of the best, worst and random clips are kept.
    on_done: told how many clips are done since the last call.
  """
  check_count('prompts', prompts)
  asked = []
  for index in range(prompts):
    rng = np.random.default_rng((setup.seed, CLIPS, index))
    facts = sample_facts(rng, setup.subset, split)
    asked.append((facts, caption(facts, rng, setup.subset), draw_seed(rng)))
  tallies: dict[str, Tally] = {}
  mistakes: collections.Counter[str] = collections.Counter()
  best: list[Sample] = []
  worst: list[Sample] = []
  random: list[Sample] = []
  for (facts, prompt, _), frames in _clips(maker, setup, asked, on_done):
    score = score_lib.score_clip(frames, facts, setup.subset, setup.fps)
    count_facts(tallies, score)
    for fact, is_right in score.right.items():
      if not is_right:
        read = score.reading[fact] or 'nothing'
        mistakes[f'{fact}: {getattr(facts, fact)} read as {read}'] += 1
    sample = _sample(prompt, frames, score)
    random = [*random, sample][:shown]
    best = sorted([*best, sample], key=lambda s: s.score)[::-1][:shown]
    worst = sorted([*worst, sample], key=lambda s: s.score)[:shown]
  return ClipReport(
    facts=in_order(tallies),
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
  """Ask clips for what only images have shown.

  Args:
    maker: the model.
    setup: how it is asked.
    prompts: how many for each concept, 1 or more.
    on_done: told how many clips are done since the last call.

  Raises:
    UserError: the subset has no such concepts.
  """
  check_count('prompts', prompts)
  asked = []
  for fact, value in image_only_values(setup.subset):
    for index in range(prompts):
      rng = np.random.default_rng((setup.seed, IMAGE_ONLY, index))
      facts = _with(rng, setup.subset, fact, value)
      prompt = caption(facts, rng, setup.subset)
      asked.append(((fact, value, facts), prompt, draw_seed(rng)))
  tallies: dict[str, Tally] = {}
  others: dict[str, Tally] = {}
  samples: dict[str, Sample] = {}
  for (about, prompt, _), frames in _clips(maker, setup, asked, on_done):
    fact, value, facts = about
    score = score_lib.score_clip(frames, facts, setup.subset, setup.fps)
    name = f'{fact} {value}'
    tallies[name] = tallies.get(name, Tally()).add(
      score.right[fact], score.reading[fact] is None
    )
    rest = {f: right for f, right in score.right.items() if f != fact}
    count_facts(others, dataclasses.replace(score, right=rest))
    samples.setdefault(name, _sample(prompt, frames, score))
  return ImageOnlyReport(
    values=tallies,
    others=total(others.values()),
    samples=tuple(samples.values()),
  )


def image_only_values(subset: Subset) -> list[tuple[str, str]]:
  """List the (fact, value) that a subset shows in images alone.

  Raises:
    UserError: there are none.
  """
  found = [
    (fact, value)
    for fact in facts_lib.FACT_NAMES
    for value in subset.image_values(fact)
  ]
  if not found:
    raise UserError(
      f'subset {subset.name!r} has no image-only concepts to ask for'
    )
  return found


def _with(
  rng: np.random.Generator, subset: Subset, fact: str, value: str
) -> facts_lib.Facts:
  """Draw facts of a training clip, with one of them replaced."""
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
  """Make a clip for each (anything, prompt, seed)."""
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
  """Cut items into as few batches of at most `most` as will do.

  Yields each batch as it is, and filled up with repeated items to the one size
  that all of them have, so that nothing compiles anew.
  """
  count = -(-len(items) // most)
  size = -(-len(items) // count)
  for start in range(0, len(items), size):
    batch = items[start : start + size]
    yield batch, [batch[i % len(batch)] for i in range(size)]


def count_facts(tallies: dict[str, Tally], score: score_lib.ClipScore) -> None:
  """Add the facts of one clip to the counts."""
  for fact, is_right in score.right.items():
    tallies[fact] = tallies.get(fact, Tally()).add(
      is_right, score.reading[fact] is None
    )


def _sample(
  prompt: str, frames: np.ndarray, score: score_lib.ClipScore
) -> Sample:
  reading = score.reading
  sureness = [reading.confidences[fact] for fact in score.right]
  return Sample(
    prompt=prompt,
    read=', '.join(reading[fact] or f'{fact}?' for fact in score.right),
    frames=frames,
    score=(score.mean, float(np.mean(sureness))),
  )


def in_order(tallies: dict[str, Tally]) -> dict[str, Tally]:
  """Sort counts as reports show facts."""
  return {f: tallies[f] for f in facts_lib.FACT_NAMES if f in tallies}


def draw_seed(rng: np.random.Generator) -> int:
  """Draw a sampler's seed."""
  return int(rng.integers(2**32))


def check_count(name: str, count: int) -> None:
  """Raise a UserError for a count below 1."""
  if count < 1:
    raise UserError(f'{name} is {count}; give 1 or more')
