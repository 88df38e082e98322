"""Filters of records, with a short reason for each record they leave out.

A missing score never counts as a good one. A table without the column of a
score is rejected unless the user allows it by name, and a row without a value
is left out. Layouts that have no scores are not filtered by them; `score_notes`
tells how many of their records are kept.
"""

import dataclasses
import math
from typing import Any

from phenaki_jax.data import captions, schema, word_list
from phenaki_jax.data.sources import base
from phenaki_jax.errors import UserError

# The column of each score, and the tag that LAION-400M has instead of the
# first.
UNSAFE = 'punsafe'
WATERMARK = 'pwatermark'
TAG = 'NSFW'
_SAFE_TAG = 'UNLIKELY'
# The names that releases of LAION give to the same score.
AESTHETIC = ('AESTHETIC_SCORE', 'aesthetic')
# LAION-2B-en, Re-LAION and img2dataset's own column.
LANGUAGE = ('LANGUAGE', 'language')
COLUMNS = (UNSAFE, WATERMARK, TAG, *AESTHETIC, *LANGUAGE)
"""The metadata columns that the filters read."""

# Layouts whose tables have the scores; those of WebVid and stories do not.
_SCORED_LAYOUTS = ('img2dataset', 'jsonl', 'tfds')


@dataclasses.dataclass(frozen=True, kw_only=True)
class FilterConfig:
  """Limits that a record must meet to be kept.

  Attributes:
    max_unsafe: maximum `punsafe` score, 0 to 1; None disables the filter.
    max_watermark: maximum `pwatermark` score, 0 to 1; None disables the
      filter.
    min_aesthetic: minimum aesthetic score, 0 to 10; None disables the filter.
    language: code of the language that the table must give, such as 'en', in
      any case; None disables the filter.
    toxic_words: words and phrases of which no caption may contain one, in any
      case; see `word_list.read_words`.
    min_side: minimum of height and width, in pixels.
    max_caption: maximum length of a caption, in characters.
    min_duration, max_duration: of a clip, in seconds.
    allow_missing: score columns that may be missing.
    score_unsafe: compute the `punsafe` scores that are missing, of clips too.
  """

  max_unsafe: float | None = 0.5
  max_watermark: float | None = 0.5
  min_aesthetic: float | None = None
  language: str | None = None
  toxic_words: tuple[str, ...] = ()
  min_side: int = 32
  max_caption: int = 1000
  min_duration: float = 0.3
  max_duration: float = 300.0
  allow_missing: tuple[str, ...] = ()
  score_unsafe: bool = False

  def __post_init__(self) -> None:
    for name in self.allow_missing:
      if name not in (UNSAFE, WATERMARK):
        raise UserError(
          f'allow_missing names {name!r}; only {UNSAFE} and {WATERMARK} are '
          'filtered by'
        )
    if not 0 <= self.min_duration <= self.max_duration:
      raise UserError(
        f'no duration is from {self.min_duration} to {self.max_duration} s; '
        'choose 0 <= min_duration <= max_duration'
      )


def check_columns(source: base.Source, config: FilterConfig) -> None:
  """Check that a source has the scores that the filters need.

  Raises:
    UserError: names the missing column and the options that allow it.
  """
  if source.layout not in _SCORED_LAYOUTS:
    return
  for name, option, limit in (
    (UNSAFE, '--max-unsafe', config.max_unsafe),
    (WATERMARK, '--max-watermark', config.max_watermark),
  ):
    if limit is None or name in config.allow_missing:
      continue
    if name in source.columns or (name == UNSAFE and TAG in source.columns):
      continue
    if name == UNSAFE and config.score_unsafe:
      continue
    raise UserError(
      f'{source.spec().get("folder", source.layout)} has no column {name!r}, '
      'and a missing score does not count as a good one; allow it with '
      f'--allow-missing {name}, or disable the filter with {option} none'
      + (', or compute it with --score-unsafe' if name == UNSAFE else '')
    )
  for columns, remedy, wanted in (
    (
      AESTHETIC,
      'disable the filter with --min-aesthetic none',
      config.min_aesthetic,
    ),
    (LANGUAGE, 'leave out --language', config.language),
  ):
    if wanted is not None and not source.columns & {*columns}:
      raise UserError(
        f'{source.spec().get("folder", source.layout)} has no column '
        f'{" or ".join(columns)}; {remedy}'
      )


def metadata_fault(record: schema.Record, config: FilterConfig) -> str:
  """Return why the metadata exclude a record; empty if they do not."""
  if captions.is_empty(record.caption):
    return 'empty_caption'
  if len(record.caption.strip()) > config.max_caption:
    return f'caption_over_{config.max_caption}'
  if word_list.contains(record.caption, config.toxic_words):
    return 'toxic_word'
  scores = (
    (UNSAFE, 'unsafe', config.max_unsafe),
    (WATERMARK, 'watermark', config.max_watermark),
  )
  for column, word, limit in scores:
    if limit is None or (column == UNSAFE and must_score(record, config)):
      continue
    if column == UNSAFE and column not in record.columns:
      if record.columns.get(TAG, _SAFE_TAG) != _SAFE_TAG:
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
  if config.language is not None:
    for column in LANGUAGE:
      if column in record.columns:
        found = record.columns[column]
        if not isinstance(found, str) or captions.is_empty(found):
          return 'language_unknown'
        if found.strip().casefold() != config.language.casefold():
          return f'language_not_{config.language.casefold()}'
  if config.min_aesthetic is not None:
    for column in AESTHETIC:
      if column in record.columns:
        score = _number(record.columns[column])
        if score is None:
          return 'aesthetic_unknown'
        if score < config.min_aesthetic:
          return f'aesthetic_under_{config.min_aesthetic:g}'
  return ''


def must_score(record: schema.Record, config: FilterConfig) -> bool:
  """Return whether the `punsafe` score of a record must be computed."""
  if not config.score_unsafe or config.max_unsafe is None:
    return False
  if UNSAFE in record.columns:
    return _number(record.columns[UNSAFE]) is None
  return not record.columns.get(TAG)


def score_notes(record: schema.Record, config: FilterConfig) -> list[str]:
  """Return which scores a kept record had for the limits, for the report."""
  columns, notes = record.columns, []
  if config.max_unsafe is not None:
    how = 'without'
    if must_score(record, config):
      how = 'with_computed'
    elif _number(columns.get(UNSAFE)) is not None or columns.get(TAG):
      how = 'with_given'
    notes.append(f'kept_{how}_unsafe_score')
  if (
    config.max_watermark is not None and _number(columns.get(WATERMARK)) is None
  ):
    notes.append('kept_without_watermark_score')
  if config.min_aesthetic is not None and not columns.keys() & {*AESTHETIC}:
    notes.append('kept_without_aesthetic_score')
  if config.language is not None and not columns.keys() & {*LANGUAGE}:
    notes.append('kept_without_language')
  return notes


def score_fault(score: float, config: FilterConfig) -> str:
  """Return why a computed `punsafe` score excludes a record; '' if not."""
  if config.max_unsafe is None or score <= config.max_unsafe:
    return ''
  return f'computed_unsafe_over_{config.max_unsafe:g}'


def content_fault(
  info: schema.MediaInfo, kind: str, config: FilterConfig
) -> str:
  """Return why its content excludes a record; empty if it does not."""
  if not info.width:
    return ''  # Rendered at any size.
  if min(info.width, info.height) < config.min_side:
    return f'smaller_than_{config.min_side}px'
  if kind == schema.CLIP:
    if info.duration < config.min_duration:
      return 'too_short'
    if info.duration > config.max_duration:
      return 'too_long'
    if info.num_frames < 2:
      return 'one_frame'
  return ''


def _number(value: Any) -> float | None:
  """Return a score, which may be text; None if it is not a number."""
  try:
    number = float(value)
  except (TypeError, ValueError):
    return None
  return None if math.isnan(number) else number
