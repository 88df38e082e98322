"""Clips of a generator in training, for the same prompts every time."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from phenaki_jax.errors import UserError
from phenaki_jax.evaluation.base import Value
from phenaki_jax.media.contact_sheet import contact_sheet


class SampleEvaluator:
  """Show what a generator makes of a few prompts.

  Yields a film `samples` with the clips side by side, and a picture
  `samples_sheet` with their prompts below them.
  """

  def __init__(
    self,
    sample: Callable[[Any, Sequence[str], Sequence[int]], np.ndarray],
    prompts: Sequence[str],
    *,
    every: int,
    seed: int = 0,
  ) -> None:
    """Keep what a run needs.

    Args:
      sample: maps (state, prompts, seeds) to clips, uint8 [B, T, H, W, 3].
      prompts: one or more.
      every: steps between two runs; 0: only when asked.
      seed: of the first clip; the others follow it.

    Raises:
      UserError: there are no prompts.
    """
    if not prompts:
      raise UserError('there are no prompts to make samples of')
    self._sample = sample
    self._prompts = tuple(prompts)
    self._seeds = tuple(seed + i for i in range(len(prompts)))
    self.every = every

  def run(self, step: int, state: Any) -> Iterator[tuple[str, Value]]:
    """Yield the film and the sheet."""
    clips = self._sample(state, self._prompts, self._seeds)
    yield 'samples', np.concatenate(list(clips), axis=2)
    rows = list(zip(self._prompts, clips, strict=True))
    yield (
      'samples_sheet',
      contact_sheet(rows, footer=f'step {step}, AI-generated'),
    )
