"""Reports of an evaluation as Markdown, JSON and images."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from phenaki_jax.evaluation.changes import ChangeReport
from phenaki_jax.evaluation.clips import ClipReport, ImageOnlyReport, Sample
from phenaki_jax.evaluation.counts import Counts
from phenaki_jax.evaluation.fidelity import FidelityReport
from phenaki_jax.evaluation.frechet import FrechetReport
from phenaki_jax.evaluation.measure import Measure
from phenaki_jax.evaluation.returns import ReturnReport
from phenaki_jax.evaluation.stories import StoryReport
from phenaki_jax.media.contact_sheet import contact_sheet
from phenaki_jax.media.provenance import NOTICE


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
  """The reports of a model; None for those that were not made.

  Attributes:
    protocol: settings of the evaluation, as JSON values.
    clips: report of single clips.
    stories: report of stories.
    returns: report of stories in which somebody leaves and comes back.
    changes: the matrix of changes.
    image_only: report of image-only concepts.
    fidelity: report of reconstructions.
    frechet: distances of the single clips from real ones.
    measures: other numbers, each with its protocol.
  """

  protocol: dict[str, Any]
  clips: ClipReport | None = None
  stories: StoryReport | None = None
  returns: ReturnReport | None = None
  changes: ChangeReport | None = None
  image_only: ImageOnlyReport | None = None
  fidelity: FidelityReport | None = None
  frechet: FrechetReport | None = None
  measures: tuple[Measure, ...] = ()


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
      'last_scene': stories.last,
      'scenes': stories.scenes,
      'splits': stories.splits,
      'total': stories.facts.total,
      **stories.consistency,
    }
  if returns := report.returns:
    found['returns'] = {
      'facts': returns.facts,
      'total': returns.facts.total,
      'first_scene': returns.shown,
    }
  if changes := report.changes:
    found['changes'] = {
      fact: {
        'changed': row.changed,
        'kept': row.kept,
        'all_kept': row.all_kept,
        'clean_frames': row.clean,
      }
      for fact, row in changes.rows.items()
    }
  if only := report.image_only:
    found['image_only'] = {
      'values': only.values,
      'total': only.values.total,
      'others': only.others,
    }
  if fidelity := report.fidelity:
    found['reconstruction'] = {
      'clips': fidelity.clips,
      **fidelity.means,
      'psnr_by_frame': fidelity.positions,
      'facts': fidelity.facts,
      'protocol': dict(fidelity.protocol),
    }
  if frechet := report.frechet:
    found['frechet'] = dataclasses.asdict(frechet)
  if report.measures:
    found['measures'] = [one.to_json() for one in report.measures]
  return {'protocol': report.protocol, **_json_value(found)}


def to_markdown(report: Report) -> str:
  """Return the numbers as Markdown tables."""
  protocol = report.protocol
  world = protocol.get('world') or 'Reconstructions'
  lines = [f'# {world}: {protocol.get("model", "a model")}', '']
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
    lines += _table('fact in the last scene', stories.last)
    rows = {str(i + 1): counts for i, counts in enumerate(stories.scenes)}
    lines += _table('scene', rows)
    rows = {_SPLITS[name]: counts for name, counts in stories.splits.items()}
    lines += _table('combination of facts', rows)
    lines += ['| consistency | share |', '|---|---:|']
    for name, what in _CONSISTENCY.items():
      lines.append(f'| {what} | {stories.consistency[name]:.3f} |')
    lines.append('')
  if returns := report.returns:
    count = protocol['returns']
    lines += [f'## Out of sight for three scenes ({count} stories)']
    lines += _table('fact when it is back', returns.facts, returns.facts.total)
    lines += _table('the same in the first scene', returns.shown)
  if changes := report.changes:
    lines += [f'## Changes ({protocol["changes"]} of each fact)', '']
    lines += [*_matrix(changes), '', _MATRIX_LEGEND, '']
  if only := report.image_only:
    count = protocol['image_only_prompts']
    lines += [f'## Image-only concepts ({count} prompts each)']
    rows = {**only.values, 'other facts of the same clips': only.others}
    lines += _table('concept', rows, only.values.total)
  if frechet := report.frechet:
    lines += _frechet_lines(frechet)
  if report.measures:
    lines += _measure_lines(report.measures)
  if fidelity := report.fidelity:
    lines += _fidelity_lines(fidelity)
  if any('| right | ±' in line for line in lines):
    lines += [_TABLE_LEGEND, '']
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
  if report.returns:
    rows = [
      (f'story {i + 1}, scene {j + 1}: {prompt}', frames)
      for i, (prompts, scenes) in enumerate(report.returns.stories)
      for j, (prompt, frames) in enumerate(zip(prompts, scenes, strict=True))
    ]
    yield 'returns', contact_sheet(rows, footer=NOTICE)
  if report.changes:
    rows = [
      (f'{fact}, scene {number}: {prompt}', frames)
      for fact, row in report.changes.rows.items()
      for prompts, scenes in row.samples
      for number, (prompt, frames) in enumerate(
        zip(prompts, scenes, strict=True), start=1
      )
    ]
    yield 'changes', contact_sheet(rows, footer=NOTICE)
  if report.fidelity:
    rows = [
      (name, frames)
      for pair in report.fidelity.samples
      for name, frames in zip(('original', 'decoded'), pair, strict=True)
    ]
    yield 'reconstructions', contact_sheet(rows, footer=NOTICE)
  if report.image_only:
    rows = [_row('asked', sample) for sample in report.image_only.samples]
    yield 'image_only', contact_sheet(rows, columns=9, footer=NOTICE)


_SPLITS = {'train': 'trained on', 'heldout': 'held out'}

_CONSISTENCY = {
  'persistence': 'unchanged facts that are right in later scenes',
  'last_persistence': 'unchanged facts that are right in the last scene',
  'smoothness': 'joins without a jump of the object or character',
  'continuity': 'joins without a jump that keep all unchanged facts',
}


_MATRIX_LEGEND = (
  'A row is a fact that changes between two scenes, with one of the prompts '
  'that asked for it. *changes*: share of the pairs of scenes whose second '
  'scene shows the value that was asked for. Columns of facts: share of the '
  'pairs in which a fact that nobody changed is read to have the same value in '
  'both scenes. *all stay*: share of the pairs in which this holds for all of '
  'them. *clean*: share of the frames of the second scene that show exactly '
  'one object or character, whole and without a ghost.'
)
_TABLE_LEGEND = (
  '*right*: share of the facts that are read as they were asked for, or as in '
  'the originals. *±*: standard error of that share. *unsure*: share of the '
  'facts that could not be read with confidence.'
)
_FIDELITY = {
  'psnr': 'PSNR of all frames, in dB',
  'psnr_first': 'PSNR of first frames, in dB',
  'psnr_later': 'PSNR of later frames, in dB',
  'psnr_box': 'PSNR in the box of the object or character, in dB',
  'ssim': 'SSIM of all frames',
}


def _matrix(changes: ChangeReport) -> list[str]:
  names = [*changes.facts, 'all stay', 'clean', 'pairs']
  lines = [
    '| change | changes | ' + ' | '.join(names) + ' |',
    '|---|---:|' + '---:|' * len(names),
  ]
  for fact, row in changes.rows.items():
    cells = [
      f'{row.kept[other].accuracy:.2f}' if other in row.kept else ''
      for other in changes.facts
    ]
    rates = [f'{c.accuracy:.2f}' for c in (row.all_kept, row.clean)]
    numbers = [f'{row.changed.accuracy:.2f}', *cells, *rates]
    (prompts, _), *_ = row.samples
    head = f'| {fact}: "{prompts[-1]}" | '
    lines.append(head + ' | '.join(numbers) + f' | {row.changed.asked} |')
  return lines


def _frechet_lines(frechet: FrechetReport) -> list[str]:
  made, real = frechet.clips
  name = frechet.network['network']
  lines = [
    f'## Frechet distances ({made} generated clips, {real} real ones)',
    '',
    '| compared | distance | generated | real |',
    '|---|---:|---:|---:|',
  ]
  for what, distance in frechet.distances.items():
    counts = ' | '.join(map(str, frechet.vectors[what]))
    lines.append(f'| {what}@{name} | {distance:.2f} | {counts} |')
  settings = ', '.join(f'{k} {v}' for k, v in frechet.network.items())
  return [*lines, '', f'Features of {settings}.', '']


def _measure_lines(measures: tuple[Measure, ...]) -> list[str]:
  lines = [
    '## Measures by trained networks',
    '',
    '| measure | value | ± | generated | real |',
    '|---|---:|---:|---:|---:|',
  ]
  for one in measures:
    error = '' if math.isnan(one.error) else f'{one.error:.4f}'
    samples = one.protocol['samples']
    counts = f'{samples["generated"]} | {samples.get("real", "")}'
    lines.append(f'| {one.name} | {one.value:.4f} | {error} | {counts} |')
  return [*lines, '', 'The protocol of each is in scores.json.', '']


def _fidelity_lines(fidelity: FidelityReport) -> list[str]:
  lines = [f'## Reconstructions ({fidelity.clips} held-out clips)', '']
  lines += ['| measure | mean |', '|---|---:|']
  for name, what in _FIDELITY.items():
    if name in fidelity.means:
      lines.append(f'| {what} | {fidelity.means[name]:.2f} |')
  for name, value in fidelity.means.items():
    if name not in _FIDELITY:
      lines.append(f'| {name} | {value:.4f} |')
  places = ', '.join(f'{value:.1f}' for value in fidelity.positions)
  lines += ['', f'PSNR by position of the frame, in dB: {places}.', '']
  if fidelity.facts:
    lines.append(
      'Of the facts that are read with confidence in the originals, these are '
      'read as the same in the reconstructions:'
    )
    lines += _table('fact', fidelity.facts, fidelity.facts.total)
  return lines


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
  if isinstance(value, tuple | list):
    return [_json_value(item) for item in value]
  if isinstance(value, float):
    return None if math.isnan(value) else round(value, 6)
  return value
