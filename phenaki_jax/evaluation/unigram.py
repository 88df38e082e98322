"""The loss of predicting tokens by frequency: a baseline for a generator."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Num


def unigram_loss(
  seen: Num[np.ndarray, ' V'], hidden: Num[np.ndarray, ' V']
) -> float:
  """Compute the cross-entropy of hidden tokens under unigram frequencies.

  Args:
    seen: count of each token id in the training data; 1 is added to each.
    hidden: count of each token id among the hidden tokens.

  Returns:
    The mean over hidden tokens, in nats.

  Raises:
    ValueError: there are no hidden tokens.
  """
  if not hidden.sum():
    raise ValueError('there are no hidden tokens')
  share = (seen + 1.0) / (seen + 1.0).sum()
  return float(-np.sum(hidden * np.log(share)) / hidden.sum())


@dataclasses.dataclass(kw_only=True, eq=False)
class UnigramEvaluator:
  """Measures the unigram loss, a baseline for `heldout/loss`.

  It depends on the data and the tokenizer alone and is the same at every step.

  Attributes:
    count: maps (state, batch) to the counts of each token id among all tokens
      of the batch and among its hidden tokens.
    training: reads the batches that give the frequencies.
    heldout: the batches whose hidden tokens are predicted.
    every: steps between two evaluations; 0 never evaluates in training.
  """

  count: Callable[[Any, Any], tuple[np.ndarray, np.ndarray]]
  training: Callable[[], Sequence[Any]]
  heldout: Sequence[Any]
  every: int
  _loss: float | None = dataclasses.field(default=None, init=False)

  def run(self, step: int, state: Any) -> Iterator[tuple[str, float]]:
    """Yield `heldout/unigram_loss`, which the first call computes."""
    del step
    if self._loss is None:
      seen = sum(self.count(state, batch)[0] for batch in self.training())
      hidden = sum(self.count(state, batch)[1] for batch in self.heldout)
      self._loss = unigram_loss(np.asarray(seen), np.asarray(hidden))
    yield 'heldout/unigram_loss', self._loss
