"""Clips of a generator in training for a fixed set of prompts."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from phenaki_jax.media.contact_sheet import contact_sheet


@dataclasses.dataclass(kw_only=True, eq=False)
class SampleEvaluator:
  """Generates a clip for each of a few prompts.

  Attributes:
    sample: maps (state, prompts, seeds) to clips, uint8 [B, T, H, W, 3].
    prompts: at least one prompt; none raises a ValueError.
    every: steps between two evaluations; 0 never evaluates in training.
    seed: seed of the first clip; clip i has `seed + i`.
  """

  sample: Callable[[Any, Sequence[str], Sequence[int]], np.ndarray]
  prompts: Sequence[str]
  every: int
  seed: int = 0

  def __post_init__(self) -> None:
    if not self.prompts:
      raise ValueError('there are no prompts to generate samples for')

  def run(self, step: int, state: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Yield a video `samples` and a contact sheet `samples_sheet`.

    The video has the clips side by side, the sheet their frames and prompts.
    """
    seeds = [self.seed + i for i in range(len(self.prompts))]
    clips = self.sample(state, self.prompts, seeds)
    yield 'samples', np.concatenate(list(clips), axis=2)
    rows = list(zip(self.prompts, clips, strict=True))
    sheet = contact_sheet(rows, footer=f'step {step}, AI-generated')
    yield 'samples_sheet', sheet
