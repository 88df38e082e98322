"""Counts of correct answers, with the accuracy and its standard error."""

import dataclasses
import math


@dataclasses.dataclass(frozen=True, kw_only=True)
class Counts:
  """Counts of answers.

  Attributes:
    asked: all answers.
    right: the correct answers.
    unsure: the answers of which the evaluator was unsure. Those of StoryWorld,
      where it reads nothing then, are never correct.
  """

  asked: int = 0
  right: int = 0
  unsure: int = 0

  def __add__(self, other: 'Counts') -> 'Counts':
    """Return the sums of two counts."""
    return Counts(
      asked=self.asked + other.asked,
      right=self.right + other.right,
      unsure=self.unsure + other.unsure,
    )

  @property
  def accuracy(self) -> float:
    """Return the share of correct answers in [0, 1]; nan without answers."""
    return self.right / self.asked if self.asked else math.nan

  @property
  def error(self) -> float:
    """Return the standard error of `accuracy`; nan without answers."""
    variance = self.accuracy * (1 - self.accuracy)
    return math.sqrt(variance / self.asked) if self.asked else math.nan


class Table(dict[str, Counts]):
  """Counts by name: of facts, concepts or splits."""

  @property
  def total(self) -> Counts:
    """Return the sum of all counts."""
    return sum(self.values(), Counts())
