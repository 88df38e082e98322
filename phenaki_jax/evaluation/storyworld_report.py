"""Reports of the StoryWorld evaluation as Markdown, JSON and images."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from phenaki_jax.evaluation.counts import Counts
from phenaki_jax.evaluation.storyworld import (
  ClipReport,
  ImageOnlyReport,
  Sample,
)
from phenaki_jax.evaluation.storyworld_stories import StoryReport
from phenaki_jax.media.contact_sheet import contact_sheet
from phenaki_jax.media.provenance import NOTICE


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
  """The reports of a model; None for those that were not made.

  Attributes:
    protocol: settings of the evaluation, as JSON values.
    clips: report of single clips.
    stories: report of stories.
    image_only: report of image-only concepts.
  """

  protocol: dict[str, Any]
  clips: ClipReport | None = None
  stories: StoryReport | None = None
  image_only: ImageOnlyReport | None = None


def to_json(report: Report) -> dict[str, Any]:
  """Return the numbers as JSON values; nan becomes None."""
  found: dict[str, Any] = {}
  if clips := report.clips:
    found['clips'] = {
      'facts': clips.facts,
      'total': clips.facts.total,
      'mistakes': clips.mistakes,
    }
  if stories := report.stories:
    found['stories'] = {
      'facts': stories.facts,
      'scenes': stories.scenes,
      'splits': stories.splits,
      'total': stories.facts.total,
      **stories.consistency,
    }
  if only := report.image_only:
    found['image_only'] = {
      'values': only.values,
      'total': only.values.total,
      'others': only.others,
    }
  return {'protocol': report.protocol, **_json_value(found)}


def to_markdown(report: Report) -> str:
  """Return the numbers as Markdown tables."""
  protocol = report.protocol
  lines = [f'# StoryWorld: {protocol.get("model", "a model")}', '']
  if clips := report.clips:
    lines += [f'## Clips ({protocol["prompts"]} prompts, {protocol["split"]})']
    lines += _table('fact', clips.facts, clips.facts.total)
    if clips.mistakes:
      most = list(clips.mistakes.items())[:5]
      text = '; '.join(f'{name} ({count})' for name, count in most)
      lines += [f'Most frequent mistakes: {text}.', '']
  if stories := report.stories:
    count = len(stories.scenes)
    lines += [f'## Stories ({protocol["stories"]} of {count} scenes)']
    lines += _table('fact', stories.facts, stories.facts.total)
    rows = {str(i + 1): counts for i, counts in enumerate(stories.scenes)}
    lines += _table('scene', rows)
    rows = {_SPLITS[name]: counts for name, counts in stories.splits.items()}
    lines += _table('combination of facts', rows)
    lines += ['| consistency | share |', '|---|---:|']
    for name, what in _CONSISTENCY.items():
      lines.append(f'| {what} | {stories.consistency[name]:.3f} |')
    lines.append('')
  if only := report.image_only:
    count = protocol['image_only_prompts']
    lines += [f'## Image-only concepts ({count} prompts each)']
    rows = {**only.values, 'other facts of the same clips': only.others}
    lines += _table('concept', rows, only.values.total)
  for name, value in protocol.items():
    lines.append(f'- {name}: {value}')
  return '\n'.join(lines) + '\n'


def sheets(report: Report) -> Iterable[tuple[str, np.ndarray]]:
  """Yield each contact sheet, uint8 [H, W, 3], with its name."""
  if report.clips:
    samples = report.clips.samples.items()
    rows = [_row(kind, sample) for kind, few in samples for sample in few]
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


_SPLITS = {'train': 'trained on', 'heldout': 'held out'}

_CONSISTENCY = {
  'persistence': 'unchanged facts that are right in later scenes',
  'last_persistence': 'unchanged facts that are right in the last scene',
  'smoothness': 'joins without a jump of the object',
  'continuity': 'joins without a jump that keep all unchanged facts',
}


def _row(kind: str, sample: Sample) -> tuple[str, np.ndarray]:
  return f'{kind}: {sample.prompt} (read: {sample.read})', sample.frames


def _table(
  head: str, rows: dict[str, Counts], total: Counts | None = None
) -> list[str]:
  if total is not None:
    rows = {**rows, '**all**': total}
  lines = [
    '',
    f'| {head} | right | ± | unsure | asked |',
    '|---|---:|---:|---:|---:|',
  ]
  for name, counts in rows.items():
    unsure = counts.unsure / counts.asked if counts.asked else math.nan
    lines.append(
      f'| {name} | {counts.accuracy:.3f} | {counts.error:.3f} | {unsure:.3f} | '
      f'{counts.asked} |'
    )
  return [*lines, '']


def _json_value(value: Any) -> Any:
  if isinstance(value, Counts):
    rates = {'accuracy': value.accuracy, 'error': value.error}
    return dataclasses.asdict(value) | _json_value(rates)
  if isinstance(value, dict):
    return {name: _json_value(item) for name, item in value.items()}
  if isinstance(value, tuple):
    return [_json_value(item) for item in value]
  if isinstance(value, float):
    return None if math.isnan(value) else round(value, 6)
  return value
