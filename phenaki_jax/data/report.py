"""The account of a build: every record is kept, or left out for a reason."""

import dataclasses
from collections import Counter
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Account:
  """Count what became of the records of one source.

  Attributes:
    layout: of the source.
    folder: of the source; empty for StoryWorld.
    records: that the source lists.
    clips, images: that were kept.
    filtered: sound records that a filter left out, by reason.
    broken: records that cannot be used, by reason; they are quarantined.
    notes: what the source itself left out, by reason.
  """

  layout: str
  folder: str
  records: int
  clips: int
  images: int
  filtered: dict[str, int]
  broken: dict[str, int]
  notes: dict[str, int]

  @property
  def kept(self) -> int:
    """Return the number of records kept."""
    return self.clips + self.images

  @property
  def broken_share(self) -> float:
    """Return the share of records that cannot be used."""
    return sum(self.broken.values()) / self.records if self.records else 0.0

  def check(self) -> None:
    """Assert that every record is accounted for, once."""
    left_out = sum(self.filtered.values()) + sum(self.broken.values())
    assert self.kept + left_out == self.records, self

  def to_dict(self) -> dict[str, Any]:
    """Return the counts for JSON, with their sums."""
    return {
      **dataclasses.asdict(self),
      'kept': self.kept,
      'broken_share': round(self.broken_share, 6),
    }

  def lines(self) -> list[str]:
    """Return the account as lines of text."""
    lines = [
      f'{self.layout} {self.folder}'.rstrip(),
      f'{self.records:10,} records',
    ]
    for word, counts in (
      ('filtered', self.filtered),
      ('broken', self.broken),
    ):
      for reason, count in sorted(counts.items()):
        lines.append(f'{-count:10,} {reason} ({word})')
    kept = f'{self.clips:,} clips, {self.images:,} images'
    lines.append(f'{self.kept:10,} kept: {kept}')
    for reason, count in sorted(self.notes.items()):
      lines.append(f'{count:10,} {reason} (note)')
    return lines


class Tally:
  """Count the records of a source as they pass."""

  def __init__(self) -> None:
    self.kept: Counter[str] = Counter()
    self.filtered: Counter[str] = Counter()
    self.broken: Counter[str] = Counter()

  def account(
    self, *, layout: str, folder: str, records: int, notes: dict[str, int]
  ) -> Account:
    """Close the count, and check that it adds up."""
    account = Account(
      layout=layout,
      folder=folder,
      records=records,
      clips=self.kept['clip'],
      images=self.kept['image'],
      filtered=dict(sorted(self.filtered.items())),
      broken=dict(sorted(self.broken.items())),
      notes=notes,
    )
    account.check()
    return account
