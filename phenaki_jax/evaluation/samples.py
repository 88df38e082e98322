"""Clips of a generator in training for a fixed set of prompts."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from phenaki_jax.media.contact_sheet import contact_sheet


class SampleEvaluator:
  """Generate a clip for each of a few prompts."""

  def __init__(
    self,
    sample: Callable[[Any, Sequence[str], Sequence[int]], np.ndarray],
    prompts: Sequence[str],
    *,
    every: int,
    seed: int = 0,
  ) -> None:
    """Store the arguments.

    Args:
      sample: maps (state, prompts, seeds) to clips, uint8 [B, T, H, W, 3].
      prompts: at least one prompt.
      every: steps between two evaluations; 0 never evaluates in training.
      seed: seed of the first clip; clip i has `seed + i`.

    Raises:
      ValueError: there are no prompts.
    """
    if not prompts:
      raise ValueError('there are no prompts to generate samples for')
    self._sample = sample
    self._prompts = tuple(prompts)
    self._seeds = tuple(seed + i for i in range(len(prompts)))
    self.every = every

  def run(self, step: int, state: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Yield a video `samples` and a contact sheet `samples_sheet`.

    The video has the clips side by side, the sheet their frames and prompts.
    """
    clips = self._sample(state, self._prompts, self._seeds)
    yield 'samples', np.concatenate(list(clips), axis=2)
    rows = list(zip(self._prompts, clips, strict=True))
    yield (
      'samples_sheet',
      contact_sheet(rows, footer=f'step {step}, AI-generated'),
    )
