"""The matrix of changes: what one change between two scenes does to each fact.

Averages over stories hide systematic errors, such as a colour that changes
whenever the prompt changes the place.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from phenaki_jax.evaluation.clips import CHANGES, Setup, draw_seed, in_batches
from phenaki_jax.evaluation.counts import Counts, Table
from phenaki_jax.evaluation.score import is_kept, score_clip
from phenaki_jax.evaluation.stories import film_scenes, make_story
from phenaki_jax.stories.generate import ClipMaker


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChangeRow:
  """What the changes of one fact do.

  Attributes:
    changed: whether the second scene shows the value that was asked for.
    kept: by other fact, whether both scenes are read to show the same value.
    all_kept: whether this holds for all other facts.
    clean: whether a frame of the second scene is clean (see `world.Reading`).
    samples: the first few, as (the two prompts, frames of the two scenes).
  """

  changed: Counts
  kept: Table
  all_kept: Counts
  clean: Counts
  samples: tuple[tuple[tuple[str, ...], tuple[np.ndarray, ...]], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChangeReport:
  """The matrix of changes.

  Attributes:
    facts: names of all facts that were read, in the order of reports.
    rows: by fact that changes.
  """

  facts: tuple[str, ...]
  rows: dict[str, ChangeRow]


def report_changes(
  maker: ClipMaker,
  setup: Setup,
  *,
  changes: int,
  frames_per_scene: int,
  context_frames: int,
  shown: int = 1,
  on_done: Callable[[int], object] = lambda count: None,
) -> ChangeReport:
  """Generate pairs of scenes that differ in one fact.

  The first scene is one clip of the model.

  Args:
    maker: the model.
    setup: settings of the evaluation.
    changes: number of pairs for each fact that can change, at least 1.
    frames_per_scene: frames of the second scene, at least 1.
    context_frames: number of context frames of each window.
    shown: number of pairs of each fact in the report.
    on_done: called with the number of pairs finished since the last call.
  """
  lengths = (maker.clip_frames, frames_per_scene)
  asked = []
  for fact in setup.world.changes:
    for index in range(changes):
      rng = np.random.default_rng((setup.seed, CHANGES, index))
      pair = setup.world.draw_change(rng, fact)
      seed = draw_seed(rng)
      story = make_story(pair, lengths, setup, context_frames, seed)
      asked.append((fact, pair, story))
  rows: dict[str, ChangeRow] = {}
  for batch, padded in in_batches(asked, setup.batch_size):
    parts = film_scenes(maker, [story for _, _, story in padded])
    for (fact, pair, _), pieces in zip(batch, parts, strict=False):
      row = _score(setup, fact, pair, pieces)
      rows[fact] = _add(rows[fact], row, shown) if fact in rows else row
    on_done(len(batch))
  seen = {fact for row in rows.values() for fact in row.kept}
  facts = tuple(fact for fact in setup.world.fact_names if fact in seen)
  return ChangeReport(facts=facts, rows=rows)


def _score(setup, fact, pair, pieces):
  """Return the row of one pair of scenes."""
  before, after = (
    score_clip(frames, asked, setup.world)
    for frames, asked in zip(pieces, pair, strict=True)
  )
  kept = {
    other: is_kept(before.reading, after.reading, other)
    for other in setup.world.fact_names
    if other != fact and other in pair[0].facts and other in pair[1].facts
  }
  clean = after.reading.clean
  return ChangeRow(
    changed=_counts(after.right[fact]),
    kept=Table({other: _counts(value) for other, value in kept.items()}),
    all_kept=_counts(all(kept.values())),
    clean=Counts(asked=len(clean), right=int(clean.sum())),
    samples=((tuple(asked.prompt for asked in pair), pieces),),
  )


def _counts(is_right):
  return Counts(asked=1, right=int(is_right))


def _add(one, other, shown):
  """Return the sum of two rows."""
  facts = {**one.kept, **other.kept}
  return ChangeRow(
    changed=one.changed + other.changed,
    kept=Table(
      {
        fact: one.kept.get(fact, Counts()) + other.kept.get(fact, Counts())
        for fact in facts
      }
    ),
    all_kept=one.all_kept + other.all_kept,
    clean=one.clean + other.clean,
    samples=(*one.samples, *other.samples)[:shown],
  )
