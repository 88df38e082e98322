"""Whether clips show the facts of their prompts.

The second report is on concepts that only training images show. Those on
stories are in `evaluation.stories` and `evaluation.changes`.
"""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from phenaki_jax.errors import UserError
from phenaki_jax.evaluation.counts import Counts, Table
from phenaki_jax.evaluation.score import ClipScore, score_clip
from phenaki_jax.evaluation.world import Asked, World
from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.stories.generate import ClipMaker
from phenaki_jax.types import Split, VideoU8

# Part of the seeds, so that the reports use separate random streams.
CLIPS, STORIES, IMAGE_ONLY, CHANGES, RETURNS = 11, 12, 13, 14, 15


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setup:
  """Settings of an evaluation.

  Attributes:
    world: draws the prompts and reads the clips.
    size: height and width in pixels.
    fps: frames per second.
    settings: settings of the sampler.
    seed: seed of prompts and samples.
    batch_size: maximum number of clips generated at once, at least 1; the
      results do not depend on it.
  """

  world: World
  size: tuple[int, int]
  fps: float
  settings: SamplingSettings
  seed: int = 0
  batch_size: int = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
  """A generated clip.

  Attributes:
    prompt: its prompt.
    read: what was read, in words.
    frames: uint8 [T, H, W, 3].
    score: share of correct facts, and the mean confidence of the reading, which
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
    samples: the 'best', the 'worst' and 'random' ones.
  """

  facts: Table
  mistakes: dict[str, int]
  samples: dict[str, list[Sample]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageOnlyReport:
  """Whether concepts that only images show appear in clips.

  Attributes:
    values: counts by concept, such as 'colour pink'.
    others: counts of all other facts of the same clips.
    samples: the first clip of each concept.
  """

  values: Table
  others: Counts
  samples: tuple[Sample, ...]


def report_clips(
  maker: ClipMaker,
  setup: Setup,
  *,
  prompts: int,
  split: Split = 'heldout',
  shown: int = 4,
  on_clip: Callable[[VideoU8, str], object] = lambda frames, prompt: None,
  on_done: Callable[[int], object] = lambda count: None,
) -> ClipReport:
  """Generate a clip for each of many prompts and read its facts.

  Args:
    maker: the model.
    setup: settings of the evaluation.
    prompts: number of prompts, at least 1.
    split: 'heldout' (combinations never seen in training), 'train' or 'all'.
    shown: number of examples of each kind.
    on_clip: called with each clip and its prompt.
    on_done: called with the number of clips finished since the last call.
  """
  asked = []
  for index in range(prompts):
    rng = np.random.default_rng((setup.seed, CLIPS, index))
    drawn = setup.world.draw(rng, split)
    asked.append((drawn, drawn.prompt, draw_seed(rng)))
  scores: list[ClipScore] = []
  mistakes: collections.Counter[str] = collections.Counter()
  samples: dict[str, list[Sample]] = {'best': [], 'worst': [], 'random': []}
  for (drawn, _, _), frames in _clips(maker, setup, asked, on_done):
    on_clip(frames, drawn.prompt)
    score = score_clip(frames, drawn, setup.world)
    scores.append(score)
    for fact, is_right in score.right.items():
      if not is_right:
        read = score.reading.facts[fact].value or 'nothing'
        mistakes[f'{fact}: {drawn.facts[fact]} read as {read}'] += 1
    sample = _sample(drawn, frames, score)
    for kept in samples.values():
      kept.append(sample)
    samples['worst'].sort(key=lambda s: s.score)
    samples['best'].sort(key=lambda s: s.score)
    samples['best'].reverse()
    samples = {kind: kept[:shown] for kind, kept in samples.items()}
  return ClipReport(
    facts=count_facts(scores, setup.world),
    mistakes=dict(mistakes.most_common()),
    samples=samples,
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
    UserError: the world has no such concept.
  """
  if not setup.world.image_only:
    raise UserError(
      f'this part of {setup.world.name} has no image-only concepts; use '
      'another subset'
    )
  asked = []
  for fact, value in setup.world.image_only:
    for index in range(prompts):
      rng = np.random.default_rng((setup.seed, IMAGE_ONLY, index))
      drawn = setup.world.draw_with(rng, fact, value)
      asked.append(((fact, drawn), drawn.prompt, draw_seed(rng)))
  scores = collections.defaultdict(list)
  samples: dict[tuple[str, str], Sample] = {}
  clips = _clips(maker, setup, asked, on_done)
  for ((fact, drawn), _, _), frames in clips:
    score = score_clip(frames, drawn, setup.world)
    concept = fact, drawn.facts[fact]
    scores[concept].append(score)
    samples.setdefault(concept, _sample(drawn, frames, score))
  values, others = Table(), Counts()
  for (fact, value), of_concept in scores.items():
    counts = count_facts(of_concept, setup.world)
    values[f'{fact} {value}'] = counts.pop(fact)
    others += counts.total
  return ImageOnlyReport(
    values=values, others=others, samples=tuple(samples.values())
  )


def _clips(
  maker: ClipMaker,
  setup: Setup,
  asked: Sequence[tuple],
  on_done: Callable[[int], object],
) -> Iterator[tuple[tuple, np.ndarray]]:
  """Yield each (anything, prompt, seed) with a clip of the prompt."""
  for batch, padded in in_batches(asked, setup.batch_size):
    _, prompts, seeds = zip(*padded, strict=True)
    clips = maker.clips(
      prompts, size=setup.size, seeds=seeds, settings=setup.settings
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


def count_facts(scores: Iterable[ClipScore], world: World) -> Table:
  """Count the answers of clips by fact, in the order of reports."""
  counts = dict.fromkeys(world.fact_names, Counts())
  for score in scores:
    for fact, is_right in score.right.items():
      unsure = not score.reading.facts[fact].is_sure
      counts[fact] += Counts(asked=1, right=int(is_right), unsure=int(unsure))
  return Table({fact: n for fact, n in counts.items() if n.asked})


def _sample(asked: Asked, frames: np.ndarray, score: ClipScore) -> Sample:
  facts = score.reading.facts
  confidences = [facts[fact].confidence for fact in score.right]
  return Sample(
    prompt=asked.prompt,
    read=score.reading.words(score.right),
    frames=frames,
    score=(score.mean, float(np.mean(confidences))),
  )


def draw_seed(rng: np.random.Generator) -> int:
  """Draw a seed for the sampler."""
  return int(rng.integers(2**32))
