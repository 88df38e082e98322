"""The short tables that are printed last."""

from collections.abc import Iterable, Sequence
from typing import Any

from accelerator.rows import Row


def of_rows(rows: Sequence[Row]) -> str:
  """Return the table of the checks, with what is over its limit last."""
  lines = ['| comparison | error | limit | |', '| --- | --- | --- | --- |']
  for row in rows:
    value = '' if row.error is None else f'{row.error:.1e}'
    limit = '' if row.limit is None else f'{row.limit:.0e}'
    state = row.state if row.state != 'ok' or row.limit else ''
    cell = f'{state} {row.note}'.strip().replace('|', '/')
    lines.append(f'| {row.name} | {value} | {limit} | {cell} |')
  bad = [row.name for row in rows if row.state in ('over', 'failed')]
  counts = {
    state: sum(row.state == state for row in rows if row.limit)
    for state in ('ok', 'over', 'failed', 'unsupported')
  }
  lines.append('')
  lines.append(', '.join(f'{n} {state}' for state, n in counts.items()))
  lines += [f'FAILED: {name}' for name in bad]
  return '\n'.join(lines)


def of_speed(results: Iterable[dict[str, Any]]) -> str:
  """Return the tables of the timings.

  Args:
    results: in the order in which they were written.
  """
  results = list(results)
  rates = {k: v for r in results for k, v in r.items() if k.endswith('_rate')}
  facts = next((r['machine'] for r in results if 'machine' in r), {})
  lines = [
    ', '.join(f'{name} {value}' for name, value in facts.items()),
    f'matmul in bfloat16: {_tera(rates.get("matmul_rate"))}, by the datasheet '
    f'{_tera(rates.get("datasheet_rate"))}; copy: '
    f'{_tera(rates.get("copy_rate"), "TB/s")}',
    '',
    '| step of | parameters | clips | remat | step | tokens/s | rate '
    '| of the matmul | MFU | peak GiB | compiled in |',
    '|' + ' --- |' * 11,
  ]
  chosen: dict[str, dict[str, Any]] = {}
  for one in results:
    if 'clips' in one:
      chosen[one['part']] = one
    if 'step_s' in one:
      how = chosen[one['part']]
      lines.append(
        f'| {one["part"].removeprefix("train ")} '
        f'| {how["parameters"] / 1e6:,.0f}M | {how["clips"]} | {how["remat"]} '
        f'| {one["step_s"]:.4f} s | {one["tokens_per_s"]:,.0f} '
        f'| {_tera(one["rate"])} '
        f'| {_share(one["rate"], rates.get("matmul_rate"))} '
        f'| {_share(one["rate"], rates.get("datasheet_rate"))} '
        f'| {one["peak_gib"]} | {how["compile_s"]:.0f} s |'
      )
  lines += [
    '',
    '| decoding steps | one window | rate | of the matmul | peak GiB |',
    '|' + ' --- |' * 5,
  ]
  lines += [
    f'| {one["decoding_steps"]} | {one["window_s"]:.3f} s '
    f'| {_tera(one["rate"])} '
    f'| {_share(one["rate"], rates.get("matmul_rate"))} '
    f'| {one["peak_gib"]} |'
    for one in results
    if 'decoding_steps' in one
  ]
  lines += ['', *map(_story, (r for r in results if 'story_steps' in r))]
  for one in results:
    for name in ('failed', 'left_out', 'out_of_memory'):
      if name in one:
        lines.append(f'{one["part"]}: {name.replace("_", " ")}: {one[name]}')
    if one.get('fits') is False:
      lines.append(
        f'{one["part"]}: {one["clips"]} clips with remat {one["remat"]} do '
        f'not fit: {(one["needed"] or 0) / 2**30:.1f} GiB'
      )
  spent = {r['part']: r['part_s'] for r in results if 'part_s' in r}
  lines.append(
    'seconds: ' + ', '.join(f'{name} {s:.0f}' for name, s in spent.items())
  )
  return '\n'.join(lines)


def _story(one: dict[str, Any]) -> str:
  """Say how long the story took, or would take if it was cut short."""
  said = (
    f'{one["made_frames"]:,} frames at {one["story_steps"]} decoding steps, '
    f'one story at a time: {one["made_s"]:.1f} s in {one["windows"]} windows'
  )
  if one['made_frames'] < one['wanted_frames']:
    said += (
      f'; NOT ALL: {one["wanted_frames"]:,} would take '
      f'{one["of_all_windows_s"]:.1f} s (extrapolated from '
      f'{one["window_s"]:.3f} s a window)'
    )
  return said


def _tera(value: float | None, unit: str = 'TFLOP/s') -> str:
  return 'unknown' if value is None else f'{value / 1e12:,.4g} {unit}'


def _share(value: float, of: float | None) -> str:
  return 'unknown' if not of else f'{value / of:.1%}'
