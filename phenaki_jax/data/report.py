"""The report of a build: every record is kept, or left out for a reason."""

import dataclasses
from typing import Any


def counted(**numbers: int) -> str:
  """Return numbers with their nouns, as in '1 clip, 2 images'."""
  return ', '.join(
    f'{number:,} {noun if number == 1 else _plural(noun)}'
    for noun, number in numbers.items()
  )


def _plural(noun: str) -> str:
  return f'{noun[:-1]}ies' if noun.endswith('y') else f'{noun}s'


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceReport:
  """Numbers of records of one source, by outcome.

  Attributes:
    layout: of the source.
    folder: of the source; empty for StoryWorld.
    records: records in the source.
    clips, images: records that are kept.
    filtered: usable records that a filter left out, by reason.
    broken: records that cannot be used, by reason; they are quarantined.
    notes: items that the source itself left out, by reason, and records that
      are kept with and without scores.
  """

  layout: str
  folder: str
  records: int
  clips: int
  images: int
  filtered: dict[str, int]
  broken: dict[str, int]
  notes: dict[str, int]

  def __post_init__(self) -> None:
    left_out = sum(self.filtered.values()) + sum(self.broken.values())
    assert self.kept + left_out == self.records, self

  @property
  def kept(self) -> int:
    """Return the number of records that are kept."""
    return self.clips + self.images

  @property
  def broken_share(self) -> float:
    """Return the share of records that cannot be used, 0 to 1."""
    return sum(self.broken.values()) / self.records if self.records else 0.0

  def to_dict(self) -> dict[str, Any]:
    """Return the counts and their sums, for JSON."""
    return {
      **dataclasses.asdict(self),
      'kept': self.kept,
      'broken_share': round(self.broken_share, 6),
    }

  def lines(self) -> list[str]:
    """Return the report as lines of text."""
    number, noun = counted(record=self.records).split()
    lines = [
      f'{self.layout} {self.folder}'.rstrip(),
      f'{number:>10} {noun}',
    ]
    for word, counts in (('filtered', self.filtered), ('broken', self.broken)):
      for reason, count in sorted(counts.items()):
        lines.append(f'{-count:10,} {reason} ({word})')
    kept = counted(clip=self.clips, image=self.images)
    lines.append(f'{self.kept:10,} kept: {kept}')
    for reason, count in sorted(self.notes.items()):
      lines.append(f'{count:10,} {reason} (note)')
    return lines
