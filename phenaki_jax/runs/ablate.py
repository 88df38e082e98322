"""Run the units of a sweep one after the other, and report after each.

A unit is trained and evaluated by the commands `phenaki train` and `phenaki
evaluate`, each in a process of its own. What is measured is thus what those
commands do, a unit that runs out of memory or fails ends alone, its memory is
free for the next one, and a job that was rendered for another machine is the
same job. Starting a process and compiling again costs about a minute per unit.
"""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from etils import epath

from phenaki_jax.errors import UserError
from phenaki_jax.files.lock import run_lock
from phenaki_jax.runs.ablate_report import write_report
from phenaki_jax.runs.ablate_shared import Shared
from phenaki_jax.runs.ablate_sweep import Sweep
from phenaki_jax.runs.ablate_tokens import SharedTokens, share_tokens
from phenaki_jax.runs.ablate_unit import Unit, as_options, shell_line
from phenaki_jax.training.loop import PREEMPTED

_log = logging.getLogger(__name__)

FAILED = 2
Launch = Callable[[Sequence[str]], int]
"""Runs `phenaki` with arguments and returns its exit code."""

_STOPPED = (
  PREEMPTED,
  *(128 + number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)),
  *(-number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)),
)


def launch_process(arguments: Sequence[str]) -> int:
  """Run `phenaki` in a process of its own and return its exit code.

  An interruption of this process stops the other one, waits until it has saved
  and returns 75.
  """
  command = [sys.executable, '-m', 'phenaki_jax', *arguments]
  with subprocess.Popen(command) as process:
    try:
      return process.wait()
    except KeyboardInterrupt:
      process.terminate()
      process.wait()
      return PREEMPTED


def run_sweep(
  sweep: Sweep,
  out: epath.PathLike,
  *,
  cached: int,
  launch: Launch = launch_process,
  report: Callable[[Sweep, epath.Path], object] = write_report,
) -> int:
  """Run all units that are not finished.

  Args:
    sweep: checked.
    out: folder of the sweep.
    cached: most clips, and most images, whose tokens all units share; 0 to
      train on pixels.
    launch: runs `phenaki`.
    report: writes the report of what is finished.

  Returns:
    0 if all units are finished; 2 if some failed, which are named, or if the
    shared tokens could not be encoded, which ends the sweep; 75 if a signal
    stopped a unit after it was saved: the same call goes on with it.

  Raises:
    UserError: `out` has units of another `cached` or of another tokenizer.
  """
  out = epath.Path(out)
  units = sweep.units
  tokens = share_tokens(units, out, most=cached) if cached else {}
  failed: list[str] = []
  began, done = time.monotonic(), 0
  with run_lock(out, option='--out'):
    Shared.of(units, cached=cached).keep(out)
    left = [unit for unit in units if unit.state(out) != 'finished']
    if len(left) < len(units):
      _log.info('%d units are finished already.', len(units) - len(left))
    for number, unit in enumerate(left):
      remaining = ''
      if done:
        rest = (time.monotonic() - began) / done * (len(left) - number)
        remaining = f', about {rest / 60:.0f} min left'
      _log.info(
        'Unit %d of %d: %s, seed %d%s.',
        len(units) - len(left) + number + 1,
        len(units),
        unit.label,
        unit.seed,
        remaining,
      )
      shared = tokens.get(unit.name)
      missing = _missing(unit, out, shared)
      encoded = launch(missing) if missing else 0
      code = encoded or _run_unit(unit, out, shared, launch)
      if code in _STOPPED:
        report(sweep, out)
        _log.info('The sweep was stopped; the same command goes on with it.')
        return PREEMPTED
      if encoded:  # The other units would fail as well.
        report(sweep, out)
        _log.error(
          'The shared tokens were not encoded (exit code %d); the same command '
          'tries it again.',
          encoded,
        )
        return FAILED
      done += 1
      if code:
        failed.append(f'{unit.name} (exit code {code})')
        _log.error('Unit %s failed with exit code %d.', unit.name, code)
      report(sweep, out)
    if not left:
      report(sweep, out)
  if failed:
    _log.error(
      '%d of %d units failed: %s; the same command tries them again.',
      len(failed),
      len(units),
      ', '.join(failed),
    )
    return FAILED
  return 0


def run_unit(
  sweep: Sweep,
  name: str,
  out: epath.PathLike,
  *,
  cached: int,
  launch: Launch = launch_process,
) -> int:
  """Train and evaluate one unit, as a job beside those of other units.

  Args:
    sweep: whose unit of this name is checked.
    name: of the unit.
    out, cached, launch: as of `run_sweep`.

  Returns:
    0; 75 if a signal stopped it: the same call goes on; or the exit code of the
    command that failed.

  Raises:
    UserError: there is no such unit, its tokens are not encoded yet, a launcher
      has started several processes, or `out` has units of another `cached` or
      of another tokenizer.
  """
  out = epath.Path(out)
  (unit,) = sweep.only(name).units
  joined = os.environ if 'PHENAKI_COORDINATOR' in os.environ else {}
  for variable in ('PHENAKI_NUM_PROCESSES', 'SLURM_NTASKS'):
    if joined.get(variable, '1') != '1':
      raise UserError(
        f'{variable} is {joined[variable]}, but each process would evaluate '
        'the unit; start one process for each unit'
      )
  shared = share_tokens(sweep.units, out, most=cached)[name] if cached else None
  if missing := _missing(unit, out, shared):
    raise UserError(
      'the shared tokens are not encoded yet; run this first: '
      f'{shell_line(missing)}'
    )
  Shared.of([unit], cached=cached).keep(out)
  code = _run_unit(unit, out, shared, launch)
  return PREEMPTED if code in _STOPPED else code


def _missing(
  unit: Unit, out: epath.Path, tokens: SharedTokens | None
) -> list[str] | None:
  """Return the command that encodes what the unit lacks, if anything."""
  is_trained = unit.state(out) in ('trained', 'finished')
  if tokens is None or is_trained or tokens.is_written():
    return None
  return tokens.command


def _run_unit(
  unit: Unit,
  out: epath.Path,
  tokens: SharedTokens | None,
  launch: Launch,
) -> int:
  """Train and evaluate a unit; return the first exit code that is not 0."""
  commands = []
  state = unit.state(out)
  if state == 'finished':  # in the meantime, by a rendered command
    return 0
  if state != 'trained':
    cache = tokens.folder if tokens else None
    commands.append(unit.train_command(out, cache=cache))
  commands.append(unit.evaluate_command(out))
  for command in commands:
    if code := launch(command):
      return code
  return 0


def render(
  sweep: Sweep, out: epath.PathLike, *, cached: int
) -> tuple[list[str], list[str]]:
  """Return the commands of a sweep, for other machines.

  Returns:
    The commands that write the shared tokens, which come first, and one for
    each unit that is not finished; the units may run in any order.
  """
  out = epath.Path(out)
  tokens = share_tokens(sweep.units, out, most=cached) if cached else {}
  caches = {str(t.folder): t for t in tokens.values() if not t.is_written()}
  seeds = len(sweep.points[0].units)
  of_all = [
    *('ablate', sweep.spec, '--out', str(out), *as_options(sweep.overrides)),
    *('--seeds', str(seeds), '--cached', str(cached)),
  ]
  return [shell_line(t.command) for t in caches.values()], [
    shell_line([*of_all, '--unit', unit.name])
    for unit in sweep.units
    if unit.state(out) != 'finished'
  ]
