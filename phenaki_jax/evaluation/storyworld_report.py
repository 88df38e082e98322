"""StoryWorld's numbers for people and programs: Markdown, JSON, pictures."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from phenaki_jax.evaluation.storyworld import (
  ClipReport,
  ImageOnlyReport,
  Sample,
)
from phenaki_jax.evaluation.storyworld_stories import StoryReport
from phenaki_jax.evaluation.tally import Tally
from phenaki_jax.media.contact_sheet import contact_sheet
from phenaki_jax.media.provenance import NOTICE


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
  """Hold what was asked of one model; None was not asked.

  Attributes:
    protocol: JSON values that say how the numbers came about.
    clips: facts of single clips.
    stories: facts and memory of stories.
    image_only: concepts of images, asked for in clips.
  """

  protocol: dict[str, Any]
  clips: ClipReport | None = None
  stories: StoryReport | None = None
  image_only: ImageOnlyReport | None = None


def to_json(report: Report) -> dict[str, Any]:
  """Return the numbers as JSON values, without pictures; nan is None."""
  found: dict[str, Any] = {'protocol': report.protocol}
  if report.clips:
    found['clips'] = {
      'facts': _tallies(report.clips.facts),
      'total': _tally(report.clips.total),
      'mistakes': report.clips.mistakes,
    }
  if report.stories:
    stories = report.stories
    found['stories'] = {
      'facts': _tallies(stories.facts),
      'scenes': [_tally(tally) for tally in stories.scenes],
      'splits': _tallies(stories.splits),
      'total': _tally(stories.total),
      **{name: _number(getattr(stories, name)) for name in _MEMORY},
    }
  if report.image_only:
    found['image_only'] = {
      'values': _tallies(report.image_only.values),
      'total': _tally(report.image_only.total),
      'others': _tally(report.image_only.others),
    }
  return found


def to_markdown(report: Report) -> str:
  """Return the numbers as tables."""
  protocol = report.protocol
  lines = [f'# StoryWorld: {protocol.get("model", "a model")}', '']
  if report.clips:
    lines += [f'## Clips ({protocol["prompts"]} prompts, {protocol["split"]})']
    lines += _table('fact', report.clips.facts, report.clips.total)
    if report.clips.mistakes:
      most = list(report.clips.mistakes.items())[:5]
      text = '; '.join(f'{name} ({count})' for name, count in most)
      lines += [f'Most frequent mistakes: {text}.', '']
  if report.stories:
    stories = report.stories
    lines += [
      f'## Stories ({protocol["stories"]} of {len(stories.scenes)} scenes)'
    ]
    lines += _table('fact', stories.facts, stories.total)
    rows = {str(i + 1): tally for i, tally in enumerate(stories.scenes)}
    lines += _table('scene', rows, None)
    rows = {_SPLITS[name]: tally for name, tally in stories.splits.items()}
    lines += _table('combination of the scene', rows, None)
    lines += ['| memory | share |', '|---|---:|']
    for name, what in _MEMORY.items():
      lines.append(f'| {what} | {getattr(stories, name):.3f} |')
    lines.append('')
  if report.image_only:
    only = report.image_only
    lines += [
      f'## Image-only concepts ({protocol["image_only_prompts"]} prompts each)'
    ]
    rows = {**only.values, 'other facts of these clips': only.others}
    lines += _table('concept', rows, only.total)
  for name, value in protocol.items():
    lines.append(f'- {name}: {value}')
  return '\n'.join(lines) + '\n'


def sheets(report: Report) -> Iterable[tuple[str, np.ndarray]]:
  """Yield names and contact sheets, uint8 [H, W, 3]."""
  if report.clips:
    rows = []
    for kind in ('best', 'worst', 'random'):
      rows += [_row(kind, sample) for sample in getattr(report.clips, kind)]
    yield 'clips', contact_sheet(rows, columns=9, footer=NOTICE)
  if report.stories:
    rows = [
      (f'story {i + 1}, scene {j + 1}: {prompt}', frames)
      for i, (prompts, scenes) in enumerate(report.stories.stories)
      for j, (prompt, frames) in enumerate(zip(prompts, scenes, strict=True))
    ]
    yield 'stories', contact_sheet(rows, footer=NOTICE)
  if report.image_only:
    rows = [_row('asked', sample) for sample in report.image_only.samples]
    yield 'image_only', contact_sheet(rows, columns=9, footer=NOTICE)


_SPLITS = {'train': 'trained on', 'heldout': 'held out of training'}

_MEMORY = {
  'persistence': 'what should persist does, in later scenes',
  'last_persistence': 'what should persist does, in the last scene',
  'smoothness': 'joins over which the object moves on without a jump',
  'continuity': 'joins without a jump that also keep every fact they should',
}


def _row(kind: str, sample: Sample) -> tuple[str, np.ndarray]:
  return f'{kind}: {sample.prompt} (read: {sample.read})', sample.frames


def _table(head: str, rows: dict[str, Tally], total: Tally | None) -> list[str]:
  lines = [
    '',
    f'| {head} | right | ± | unsure | asked |',
    '|---|---:|---:|---:|---:|',
  ]
  for name, tally in rows.items():
    lines.append(_line(name, tally))
  if total is not None:
    lines.append(_line('**all**', total))
  return [*lines, '']


def _line(name: str, tally: Tally) -> str:
  unsure = tally.unsure / tally.asked if tally.asked else math.nan
  return (
    f'| {name} | {tally.accuracy:.3f} | {tally.error:.3f} | {unsure:.3f} | '
    f'{tally.asked} |'
  )


def _tallies(tallies: dict[str, Tally]) -> dict[str, Any]:
  return {name: _tally(tally) for name, tally in tallies.items()}


def _tally(tally: Tally) -> dict[str, Any]:
  return {
    **dataclasses.asdict(tally),
    'accuracy': _number(tally.accuracy),
    'error': _number(tally.error),
  }


def _number(value: float) -> float | None:
  return None if math.isnan(value) else round(value, 6)
