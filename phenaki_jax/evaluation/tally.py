"""Counts of right answers, and the shares and errors that follow."""

import dataclasses
import math
from collections.abc import Iterable


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tally:
  """Count answers.

  Attributes:
    asked: in all.
    right: those that show what was asked for.
    unsure: those in which the oracle read nothing; they are not right.
  """

  asked: int = 0
  right: int = 0
  unsure: int = 0

  def add(self, right: bool, unsure: bool) -> 'Tally':
    """Return the counts with one more answer."""
    return Tally(
      asked=self.asked + 1,
      right=self.right + right,
      unsure=self.unsure + unsure,
    )

  @property
  def accuracy(self) -> float:
    """Return the share of right answers; nan without any."""
    return self.right / self.asked if self.asked else math.nan

  @property
  def error(self) -> float:
    """Return the standard error of `accuracy`; nan without answers."""
    if not self.asked:
      return math.nan
    return math.sqrt(self.accuracy * (1 - self.accuracy) / self.asked)


def total(tallies: Iterable[Tally]) -> Tally:
  """Add counts up."""
  tallies = list(tallies)
  return Tally(
    asked=sum(tally.asked for tally in tallies),
    right=sum(tally.right for tally in tallies),
    unsure=sum(tally.unsure for tally in tallies),
  )
