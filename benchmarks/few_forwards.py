"""Compare a guided generator with distilled ones: facts right, and time.

    python benchmarks/few_forwards.py --students runs/unguided runs/few_steps

The teacher (the reference, if --teacher names no other) generates clips of
held-out prompts with its own settings in several numbers of decoding steps, and
so does each student; --order, --schedule, --guidance and --choice-temperature
replace those of all of them. The oracle of StoryWorld reads their facts.
Seconds are CPU time per clip, from the prompt to the pixels. The command prints
a table.
"""

import argparse
import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from phenaki_jax.evaluation.clips import Setup, report_clips
from phenaki_jax.evaluation.storyworld import StoryWorld
from phenaki_jax.runs.model import Model
from phenaki_jax.runs.open import load
from phenaki_jax.sampling.sampler import Sampler
from phenaki_jax.storyworld import subset_named


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
  """One line of the table.

  Attributes:
    model: name of the model.
    guidance: guidance scale.
    steps: decoding steps.
    forwards: forward passes on one clip.
    right: share of the facts that are right.
    error: standard error of that share.
    seconds: CPU seconds for a clip.
  """

  model: str
  guidance: float
  steps: int
  forwards: int
  right: float
  error: float
  seconds: float


@dataclasses.dataclass(kw_only=True)
class Timed:
  """A sampler that times its batches."""

  sampler: Sampler
  seconds: list[float] = dataclasses.field(default_factory=list)

  def __getattr__(self, name: str) -> Any:
    return getattr(self.sampler, name)

  def clips(self, prompts: Sequence[str], **options: Any) -> np.ndarray:
    """Return clips, and keep the time of one of them."""
    start = time.process_time()
    frames = self.sampler.clips(prompts, **options)
    self.seconds.append((time.process_time() - start) / len(prompts))
    return frames


def measure(model: Model, *, prompts: int, **changes: Any) -> Row:
  """Generate clips with settings that are changed, and read their facts."""
  settings = dataclasses.replace(model.defaults.settings, **changes)
  setup = Setup(
    world=StoryWorld(subset=subset_named(model.subset), fps=model.defaults.fps),
    size=model.defaults.size,
    fps=model.defaults.fps,
    settings=settings,
    batch_size=8,
  )
  timed = Timed(sampler=model.sampler)
  right = report_clips(timed, setup, prompts=prompts).facts.total
  return Row(
    model=model.name,
    guidance=settings.guidance,
    steps=settings.steps,
    forwards=settings.steps * (2 if settings.guidance else 1),
    right=right.accuracy,
    error=right.error,
    # The first batch includes the compilation.
    seconds=min(timed.seconds),
  )


def to_markdown(rows: Sequence[Row]) -> str:
  """Return the table; times are also given relative to the first row."""
  lines = [
    '| model | guidance | steps | forwards | facts right | ± | CPU s per clip '
    '| of the first |',
    '|---|---:|---:|---:|---:|---:|---:|---:|',
  ]
  lines += [
    f'| {row.model} | {row.guidance:g} | {row.steps} | {row.forwards} | '
    f'{row.right:.3f} | {row.error:.3f} | {row.seconds:.3f} | '
    f'{row.seconds / rows[0].seconds:.0%} |'
    for row in rows
  ]
  return '\n'.join(lines) + '\n'


def main(argv: Sequence[str] | None = None) -> None:
  """Measure all models, and print the table."""
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--teacher', help='in place of the reference')
  parser.add_argument('--students', nargs='*', default=[], metavar='DIR')
  parser.add_argument('--steps', type=int, nargs='+', default=[18, 6, 4])
  parser.add_argument('--prompts', type=int, default=100)
  parser.add_argument('--order', help='in place of those of the models')
  parser.add_argument('--schedule', help='in place of those of the models')
  parser.add_argument('--guidance', type=float, help='in place of theirs')
  parser.add_argument('--choice-temperature', type=float, help='likewise')
  args = parser.parse_args(argv)
  given = {
    name: getattr(args, name)
    for name in ('order', 'schedule', 'guidance', 'choice_temperature')
    if getattr(args, name) is not None
  }
  rows = []
  for place in (args.teacher, *args.students):
    model = load(place)
    for steps in args.steps:
      rows.append(measure(model, steps=steps, prompts=args.prompts, **given))
      print(rows[-1], flush=True)
  print(to_markdown(rows))


if __name__ == '__main__':
  main()
