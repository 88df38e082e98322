"""Which records are left out, and the countable reason for each.

A score that is missing is never taken as a good one: a source without the
column is refused until the user allows it by name, and a row without a value
is left out.
"""

import dataclasses
import math
from typing import Any

from phenaki_jax.data import schema
from phenaki_jax.data.sources import base
from phenaki_jax.errors import UserError

# The column of each score, and LAION-400M's tag that stands in for the first.
UNSAFE = 'punsafe'
WATERMARK = 'pwatermark'
_TAG = 'NSFW'
_SAFE_TAG = 'UNLIKELY'
# Layouts whose tables carry the scores. WebVid's have no such columns.
_SCORED_LAYOUTS = ('img2dataset',)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FilterConfig:
  """Say what is kept.

  Attributes:
    max_unsafe: highest `punsafe` score, 0 to 1; None asks for no score.
    max_watermark: highest `pwatermark` score, 0 to 1; None asks for none.
    min_side: shortest side of a clip or image, in pixels.
    max_caption: longest caption, in characters.
    min_duration, max_duration: of a clip, in seconds.
    allow_missing: score columns that may be missing.
  """

  max_unsafe: float | None = 0.5
  max_watermark: float | None = 0.5
  min_side: int = 32
  max_caption: int = 1000
  min_duration: float = 0.3
  max_duration: float = 300.0
  allow_missing: tuple[str, ...] = ()

  def __post_init__(self) -> None:
    for name in self.allow_missing:
      if name not in (UNSAFE, WATERMARK):
        raise UserError(
          f'allow_missing names {name!r}; only {UNSAFE} and {WATERMARK} are '
          'asked for'
        )
    if not 0 <= self.min_duration <= self.max_duration:
      raise UserError(
        f'durations from {self.min_duration} to {self.max_duration} s hold '
        'none; give min_duration <= max_duration'
      )


def check_columns(source: base.Source, config: FilterConfig) -> None:
  """Refuse a source that lacks a score the filters ask for.

  Raises:
    UserError: names the column and the options that allow it.
  """
  if source.layout not in _SCORED_LAYOUTS:
    return
  asked = {UNSAFE: config.max_unsafe, WATERMARK: config.max_watermark}
  options = {UNSAFE: '--max-unsafe', WATERMARK: '--max-watermark'}
  for name, limit in asked.items():
    if limit is None or name in config.allow_missing:
      continue
    if name in source.columns or (name == UNSAFE and _TAG in source.columns):
      continue
    raise UserError(
      f'{source.spec().get("folder", source.layout)} has no column {name!r}, '
      'and a missing score is not taken as a good one; allow it with '
      f'--allow-missing {name}, or ask for no score with {options[name]} none'
    )


def metadata_fault(record: schema.Record, config: FilterConfig) -> str:
  """Return why a record is left out by its metadata; empty if it is not."""
  caption = record.caption.strip()
  if not caption:
    return 'empty_caption'
  if len(caption) > config.max_caption:
    return f'caption_over_{config.max_caption}'
  scores = (
    (UNSAFE, 'unsafe', config.max_unsafe),
    (WATERMARK, 'watermark', config.max_watermark),
  )
  for column, word, limit in scores:
    if limit is None:
      continue
    if column == UNSAFE and column not in record.columns:
      if record.columns.get(_TAG, _SAFE_TAG) != _SAFE_TAG:
        return 'unsafe_by_tag'
      continue
    if column not in record.columns:
      continue
    score = _number(record.columns[column])
    if score is None:
      if column not in config.allow_missing:
        return f'{word}_unknown'
    elif score > limit:
      return f'{word}_over_{limit:g}'
  return ''


def content_fault(facts: schema.Facts, kind: str, config: FilterConfig) -> str:
  """Return why a record is left out by its content; empty if it is not."""
  if not facts.width:
    return ''  # Made by code in any size.
  if min(facts.width, facts.height) < config.min_side:
    return f'smaller_than_{config.min_side}px'
  if kind == schema.CLIP:
    if facts.duration < config.min_duration:
      return 'too_short'
    if facts.duration > config.max_duration:
      return 'too_long'
    if facts.num_frames < 2:
      return 'one_frame'
  return ''


def _number(value: Any) -> float | None:
  """Read a score that may be text; None unless it is a number."""
  try:
    number = float(value)
  except (TypeError, ValueError):
    return None
  return None if math.isnan(number) else number
