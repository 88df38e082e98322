"""What a guess by frequency alone would lose: the baseline of a generator."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Num

from phenaki_jax.errors import UserError
from phenaki_jax.evaluation.base import Value


def unigram_loss(
  seen: Num[np.ndarray, ' V'], hidden: Num[np.ndarray, ' V']
) -> float:
  """Compute the cross-entropy of tokens under the frequency of others.

  Args:
    seen: how often each id was seen in training; one is added to each.
    hidden: how often each id is to be guessed.

  Returns:
    Nats a token.

  Raises:
    UserError: nothing is to be guessed.
  """
  if not hidden.sum():
    raise UserError('no token is to be guessed; give examples that hide some')
  share = (seen + 1.0) / (seen + 1.0).sum()
  return float(-np.sum(hidden * np.log(share)) / hidden.sum())


class UnigramEvaluator:
  """Yield `heldout/unigram_loss`, to be read beside `heldout/loss`.

  It is a number of the data and the tokenizer, not of the step.
  """

  def __init__(
    self,
    count: Callable[[Any, Any], tuple[np.ndarray, np.ndarray]],
    *,
    training: Callable[[], Sequence[Any]],
    heldout: Sequence[Any],
    every: int,
  ) -> None:
    """Keep what a run needs.

    Args:
      count: maps (state, batch) to how often each id is in the batch, and how
        often among its hidden tokens.
      training: reads the batches whose frequencies are learned.
      heldout: batches whose hidden tokens are guessed.
      every: steps between two runs; 0: only when asked.
    """
    self._count = count
    self._training = training
    self._heldout = heldout
    self._loss: float | None = None
    self.every = every

  def run(self, step: int, state: Any) -> Iterator[tuple[str, Value]]:
    """Yield the baseline; it is computed once."""
    del step
    if self._loss is None:
      seen = sum(self._count(state, batch)[0] for batch in self._training())
      hidden = sum(self._count(state, batch)[1] for batch in self._heldout)
      self._loss = unigram_loss(np.asarray(seen), np.asarray(hidden))
    yield 'heldout/unigram_loss', self._loss
